"""What the analyses share: which records count, their totals, and the names of numbers."""

import polars as pl

from flowlake import reference
from flowlake.errors import UsageError


def counted(count: str) -> pl.Expr:
    """Which records count: all ``records``, only ``egress`` ones, or those of one interface.

    A flow is recorded at the sender's interface and again at the receiver's, so a sum over all
    records counts it twice where both have a flow log. The SQL macro ``counted`` says the same.

    Raises:
        UsageError: when ``count`` is neither of the words nor an interface id.
    """
    if count == "records":
        return pl.lit(True)
    if count == "egress":
        return pl.col("flow_direction") == "egress"
    if count.startswith("eni-"):
        return pl.col("interface_id") == count
    raise UsageError(f"count is records, egress or the id of an interface, not {count}.")


def recorded() -> pl.Expr:
    """Records of traffic, leaving out NODATA and SKIPDATA; a format may lack ``log_status``."""
    return pl.col("log_status").fill_null("OK") == "OK"


def totals() -> tuple[pl.Expr, ...]:
    """Count records and sum packets and bytes, where a sum of nothing is 0."""
    return (
        pl.len().cast(pl.Int64).alias("flows"),
        pl.col("packets").sum(),
        pl.col("bytes").sum(),
    )


def seen() -> tuple[pl.Expr, ...]:
    """The start of the first record and the end of the last."""
    return (
        pl.col("start_time").min().alias("first_seen"),
        pl.col("end_time").max().alias("last_seen"),
    )


def distinct(column: str) -> pl.Expr:
    """Count the distinct values, nulls aside, as SQL's ``count(DISTINCT …)``."""
    return pl.col(column).drop_nulls().n_unique().cast(pl.Int64)


def share(column: str) -> pl.Expr:
    """A column's part of its total, from 0 to 1; null where the total is 0.

    A window, not a plain sum: Polars divides by a scalar as a product with its reciprocal, which
    is off in the last bit from a true division, so that 3 of 5 gives 0.6000000000000001.
    """
    total = pl.col(column).sum().over(pl.lit(1))
    return pl.when(total > 0).then(pl.col(column) / total)


def table(name: str) -> pl.LazyFrame:
    """The Polars side of a small table that SQL joins: one of `flowlake.reference`."""
    return reference.lookup(name).lazy()
