"""Interfaces and their names, as they were at one time and another: the lake's table ``inventory``.

A flow log names an interface and an address; EC2 knows the instance, its tags and its subnet, but
only those of now. So the lake keeps a row for each time that an interface was found to be new,
changed or gone.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import deltalake
import polars as pl

from flowlake.aws import Access
from flowlake.committing import CONFIGURATION, Tables
from flowlake.describing import INVENTORY, described, read_inventory_file
from flowlake.errors import LakeError
from flowlake.explaining import explained
from flowlake.files import file_urls
from flowlake.storage import canonical, delta_options

__all__ = ["INVENTORY", "inventory", "keep", "named", "read_inventory_file", "take_inventory"]

TABLE = "inventory"

ADDRESSES = (
    *("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr", "peer", "indicator", "address"),
    *("address_a", "address_b", "client", "server", "who", "whom"),
)
"""Columns of answers that may hold addresses."""

_CONTENT = [name for name in INVENTORY if name not in ("taken_at", "source")]


def take_inventory(
    lake: str | os.PathLike[str], access: Access = Access(), *, regions: Sequence[str] = ()
) -> pl.DataFrame:
    """Ask EC2 for the interfaces of an account, and keep what has changed.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        access: AWS profile.
        regions: which to ask; by default the profile's or the environment's.

    Returns:
        What has changed, as ``keep`` gives it.

    Raises:
        UsageError: when no region is known.
        LakeError: when there is no lake.
        StorageError: when EC2 cannot be asked: it needs the rights ec2:DescribeNetworkInterfaces,
            ec2:DescribeInstances, ec2:DescribeSubnets and ec2:DescribeVpcs.
    """
    taken, sources = described(access, regions)
    return keep(lake, taken, access, sources=sources)


def keep(
    lake: str | os.PathLike[str],
    frame: pl.DataFrame,
    access: Access = Access(),
    *,
    sources: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Keep what a snapshot says that the lake does not know yet, in one commit.

    An interface that is as it was gets no row. One that was last seen in a snapshot of the same
    ``source``, and is not in this one, gets a row that says it is ``gone``.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        frame: of ``INVENTORY``.
        access: AWS profile.
        sources: what the snapshot is of, as in ``source``; by default the sources in the frame.

    Returns:
        The new rows: ``change`` (``new``, ``renamed``, ``changed`` or ``gone``), ``name_before``,
        and the columns of ``INVENTORY``.

    Raises:
        LakeError: when there is no lake.
        StorageError: when the lake in a bucket cannot be written.
    """
    tables = Tables(canonical(lake), access)
    tables.table("flows")  # a lake has to be there
    before = _history(tables)
    of = sources if sources is not None else frame["source"].unique().to_list()
    at = frame["taken_at"].max() or datetime.now(UTC)
    newest = before.sort("taken_at", maintain_order=True).unique("interface_id", keep="last")
    missing = newest.filter(
        pl.col("source").is_in(of),
        pl.col("taken_at") < at,
        ~pl.col("interface_id").is_in(frame["interface_id"].implode()),
    ).with_columns(taken_at=pl.lit(at, INVENTORY["taken_at"]), gone=pl.lit(True))
    said = pl.concat([before, frame, missing]).with_row_index("place")
    content = pl.struct(_CONTENT).struct.json_encode()
    earlier = pl.col("content", "name", "gone").shift(1).over("interface_id")
    rows = (
        said.with_columns(content=content)
        .sort("interface_id", "taken_at", "place")
        .with_columns(earlier.name.suffix("_before"))
        .filter(
            pl.col("place") >= before.height, pl.col("content").ne_missing(pl.col("content_before"))
        )
        .sort("place")
    )
    change = (
        pl.when("gone")
        .then(pl.lit("gone"))
        .when(pl.col("gone_before").fill_null(True))
        .then(pl.lit("new"))
        .when(pl.col("name").ne_missing(pl.col("name_before")))
        .then(pl.lit("renamed"))
        .otherwise(pl.lit("changed"))
    )
    if rows.height:
        _append(tables, rows.select(INVENTORY.names()))
    return rows.select(change.alias("change"), "name_before", *INVENTORY.names())


def inventory(
    lake: str | os.PathLike[str] | Tables,
    at: datetime | None = None,
    access: Access = Access(),
) -> pl.DataFrame:
    """Say what each interface was at a time, by ``interface_id``: a frame of ``INVENTORY``.

    It is the interface's newest row at or before that time, else its first: whoever has flows of
    before the first snapshot takes the names of the first. Empty if no inventory was ever taken.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        at: when; by default now.
        access: AWS profile.
    """
    tables = lake if isinstance(lake, Tables) else Tables(canonical(lake), access)
    rows = _history(tables).sort("taken_at", maintain_order=True)
    past = rows if at is None else rows.filter(pl.col("taken_at") <= at)
    last = past.unique("interface_id", keep="last")
    first = rows.unique("interface_id", keep="first").join(last, on="interface_id", how="anti")
    return pl.concat([last, first]).sort("interface_id")


def named(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add names beside ids and addresses: ``interface_name``, ``srcaddr_name``, ….

    ``interface_id``, ``instance_id``, ``subnet_id`` and ``vpc_id`` get theirs. An interface without
    the tag ``Name`` goes by its description. A column of ``ADDRESSES`` gets the name of the
    interface that has the address, if it is exactly one of those that are there, else exactly one
    of those that are gone; so an address that two VPCs have gets none.

    Args:
        frame: an answer.
        known: of ``inventory``.

    Raises:
        LakeError: when nothing is known.
    """
    if known.is_empty():
        raise LakeError("The lake has no inventory, so no names: run `flowlake inventory`.")
    label = pl.coalesce("name", "description")
    by_time = known.sort("taken_at", "interface_id", descending=[True, False])
    there = by_time.with_columns(label=label).sort("gone", maintain_order=True)
    names = {
        "interface_id": there.select("interface_id", "label"),
        "instance_id": there.select("instance_id", "label"),
        "subnet_id": there.select("subnet_id", label="subnet_name"),
        "vpc_id": there.select("vpc_id", label="vpc_name"),
    }
    of_address = _names_of_addresses(there)
    order: list[str] = []
    shown = frame
    for column in frame.columns:
        order.append(column)
        if frame.schema[column] != pl.String or not {column} & {*names, *ADDRESSES}:
            continue
        new = f"{column.removesuffix('_id') if column in names else column}_name"
        if new in frame.columns:
            continue
        pairs = names.get(column, of_address)
        key = pairs.columns[0]
        unique = pairs.drop_nulls().unique(key, keep="first")
        label_of = pl.col(column).replace_strict(
            unique[key], unique["label"], default=None, return_dtype=pl.String
        )
        shown = shown.with_columns(label_of.alias(new))
        order.append(new)
    return shown.select(order)


def _names_of_addresses(there: pl.DataFrame) -> pl.DataFrame:
    owned = there.select("interface_id", "label", "gone", address="addresses").explode("address")
    owners = owned.drop_nulls("address").group_by("address", "gone").agg("interface_id", "label")
    first = owners.sort("gone").unique("address", keep="first")
    alone = first.filter(pl.col("interface_id").list.n_unique() == 1)
    return alone.select("address", label=pl.col("label").list.first())


def _history(tables: Tables) -> pl.DataFrame:
    """Every row of the table, in no order; none if there is no table."""
    if not tables.exist(TABLE):
        return pl.DataFrame(schema=INVENTORY)
    files = file_urls(tables.table(TABLE))
    if not files:
        return pl.DataFrame(schema=INVENTORY)
    with explained(tables.url):
        return (
            pl.scan_parquet(
                sorted(files),
                schema=INVENTORY,
                storage_options=delta_options(tables.url, tables.access),
                hive_partitioning=False,
                missing_columns="insert",
                extra_columns="ignore",
            )
            .select(INVENTORY.names())
            .collect()
        )


def _append(tables: Tables, rows: pl.DataFrame) -> None:
    with explained(tables.url):
        deltalake.write_deltalake(
            tables.table_url(TABLE),
            rows.to_arrow(),
            mode="append",
            configuration={**CONFIGURATION},
            storage_options=delta_options(tables.url, tables.access),
        )
