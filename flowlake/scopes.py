"""Whom a rule is about: addresses, networks, and interfaces known by what they belong to."""

from dataclasses import dataclass

import polars as pl

from flowlake.addresses import in_networks


@dataclass(frozen=True, slots=True)
class Members:
    """Who belongs to a scope.

    ``networks`` are matched wherever they are seen. ``pairs`` are interfaces with an address of
    theirs, columns ``interface_id`` and ``address``: they are matched only in the records of that
    interface, so that the same private address in another VPC is somebody else.
    """

    networks: tuple[str, ...] = ()
    pairs: pl.DataFrame | None = None
    everybody: bool = False

    def hold(self, address: str) -> pl.Expr:
        """Whether the address in this column, of a record with an ``interface_id``, belongs.

        Never null: who has no address does not belong.
        """
        if self.everybody:
            return pl.lit(True)
        found = pl.lit(False)
        if self.networks:
            found = found | in_networks(pl.col(address), self.networks).fill_null(False)
        if self.pairs is not None and self.pairs.height:
            paired = self.pairs.select(pl.struct("interface_id", address=pl.col("address")))
            here = pl.struct("interface_id", pl.col(address).alias("address"))
            found = found | here.is_in(paired.to_series().implode()).fill_null(False)
        return found


EVERYBODY = Members(everybody=True)
NOBODY = Members()
