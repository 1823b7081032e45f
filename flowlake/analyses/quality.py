"""Whether the data can be trusted: lost records, gaps, intervals, what is never captured."""

from collections.abc import Sequence

import polars as pl

from flowlake.addresses import MAPPED, MAPPED_END, address_number, network
from flowlake.analyses.counting import distinct, recorded, seen, table, totals

_INTERFACE = ("account_id", "region", "interface_id")

_MINUTE = 60_000_000
"""In microseconds, as are all lengths of time here."""

_DAY = 1440 * _MINUTE

_RESERVED: dict[str, tuple[str, ...]] = {
    "dns": ("169.254.169.253", "fd00:ec2::253"),
    "windows_licence": ("169.254.169.250", "169.254.169.251"),
    "instance_metadata": ("169.254.169.254", "fd00:ec2::254"),
    "time_sync": ("169.254.169.123", "fd00:ec2::123"),
}
"""Addresses of AWS that are the same in every VPC."""

_DHCP_PORTS = (67, 68, 546, 547)


def data_quality(flows: pl.LazyFrame) -> pl.LazyFrame:
    """Count each interface's records by status, and warn of lost and of repeated ones.

    Args:
        flows: The records to look at.

    """
    status = pl.col("log_status").fill_null("OK")
    statuses = {"ok": "OK", "nodata": "NODATA", "skipdata": "SKIPDATA"}
    times = pl.col("flow_logs").cast(pl.String)
    lost = pl.when(pl.col("skipdata") > 0).then(pl.lit("AWS lost records (SKIPDATA)"))
    repeated = pl.when(pl.col("flow_logs") > 1).then(
        pl.format("recorded by {} flow logs: sums may count each flow {} times", times, times)
    )
    return (
        flows.group_by(*_INTERFACE)
        .agg(
            *((status == word).sum().cast(pl.Int64).alias(name) for name, word in statuses.items()),
            (~status.is_in(list(statuses.values()))).sum().cast(pl.Int64).alias("other"),
            distinct("flow_log_id").alias("flow_logs"),
            *seen(),
        )
        .with_columns(
            warning=pl.coalesce(pl.concat_str(lost, repeated, separator="; "), lost, repeated)
        )
        .sort(
            *("skipdata", "flow_logs", *_INTERFACE),
            descending=[True, True, False, False, False],
            nulls_last=True,
        )
    )


def coverage_gaps(
    flows: pl.LazyFrame, history: pl.LazyFrame, *, minutes: int = 30, days: int = 1
) -> pl.LazyFrame:
    """List the silences of each interface: from the last end so far to the next start.

    Args:
        flows: The records to look at.
        history: The records before those of `flows`.
        minutes: The shortest silence to report; 0 means 1.
        days: How many days before the window to look back.

    """
    silence = max(minutes, 1) * _MINUTE
    started = pl.col("start_time").dt.epoch("us")
    ended = pl.max_horizontal("start_time", "end_time")
    timed = flows.filter(pl.col("start_time").is_not_null())
    bounds = timed.select(
        window_start=pl.col("start_time").min(),
        window_end=ended.max(),
        # From 1970 to 9999 there are fewer than 4 million days; more would overflow.
        history_start=started.min() - min(days, 4_000_000) * _DAY,
    )
    columns = (*_INTERFACE, "start_time", "end_time")
    before = (
        history.select(columns)
        .join(bounds.select("history_start"), how="cross")
        .filter(started >= pl.col("history_start"))
    )
    # Within a slot as long as the shortest silence there is none between two starts, and the
    # records before a silence all start in earlier slots than those after it: so slots find the
    # same gaps.
    slots = (
        pl.concat([timed.select(columns), before.select(columns)])
        .filter(pl.col("interface_id").is_not_null())
        .group_by(*_INTERFACE, slot=started // silence)
        .agg(pl.col("start_time").min().alias("gap_end"), ended.max().alias("last_end"))
    )
    earlier = pl.col("last_end").cum_max().shift(1).over(_INTERFACE, order_by="slot")
    within = slots.select(*_INTERFACE, "gap_end", gap_start=earlier, resumed=pl.lit(True))
    to_the_end = (
        slots.group_by(*_INTERFACE)
        .agg(pl.col("last_end").max().alias("gap_start"))
        .join(bounds, how="cross")
        .select(*_INTERFACE, "gap_start", gap_end="window_end", resumed=pl.lit(False))
    )
    length = pl.col("gap_end").dt.epoch("us") - pl.col("gap_start").dt.epoch("us")
    # Divided by a column: Polars makes a product with the reciprocal of a division by a scalar.
    minute = length * 0 + _MINUTE
    return (
        pl.concat([within, to_the_end], how="diagonal")
        .join(bounds, how="cross")
        .filter(length > silence, pl.col("gap_end") >= pl.col("window_start"))
        .select(*_INTERFACE, "gap_start", "gap_end", (length / minute).alias("minutes"), "resumed")
        .sort(
            *("minutes", *_INTERFACE, "gap_start"),
            descending=[True, False, False, False, False],
            nulls_last=True,
        )
    )


def aggregation_interval(flows: pl.LazyFrame) -> pl.LazyFrame:
    """Tell from the longest records which aggregation interval each flow log has.

    Args:
        flows: The records to look at.

    """
    key = ("account_id", "region", "flow_log_id")
    lasted = pl.col("end_time").dt.epoch("us") - pl.col("start_time").dt.epoch("us")
    over = pl.col("lasted") > _MINUTE
    return (
        flows.select(*key, "interface_id", lasted=lasted)
        .filter(pl.col("lasted").is_not_null())
        .group_by(*key)
        .agg(
            distinct("interface_id").alias("interfaces"),
            pl.len().cast(pl.Int64).alias("flows"),
            longest_seconds=pl.col("lasted").max().clip(0) // 1_000_000,
            over_a_minute=over.sum().cast(pl.Int64),
            interfaces_over_a_minute=(
                pl.col("interface_id").filter(over).drop_nulls().n_unique().cast(pl.Int64)
            ),
            minutes=pl.when(over.any()).then(10).otherwise(1).cast(pl.Int32),
        )
        .sort(*key, nulls_last=True)
    )


def _bases(cidrs: Sequence[str]) -> list[int]:
    """The numbers of the first addresses of those networks that are IPv4 and have further ones."""
    return [
        first
        for first, last in map(network, cidrs)
        if MAPPED <= first <= MAPPED_END and last - first >= 2
    ]


def _reserved(bases: Sequence[int]) -> pl.LazyFrame:
    """Which address, by its number, belongs to which uncaptured traffic."""
    known = pl.LazyFrame(
        [(traffic, address) for traffic, listed in _RESERVED.items() for address in listed],
        schema={"traffic": pl.String, "address": pl.String},
        orient="row",
    ).select("traffic", number=address_number(pl.col("address")))
    own = pl.LazyFrame(
        [
            (traffic, base + place)
            for base in bases
            for traffic, place in (("vpc_router", 1), ("dns", 2))
        ],
        schema={"traffic": pl.String, "number": pl.UInt128},
        orient="row",
    )
    return pl.concat([known, own]).unique()


def uncaptured(flows: pl.LazyFrame, *, cidrs: Sequence[str] = ()) -> pl.LazyFrame:
    """Look for each kind of traffic that flow logs never hold.

    Args:
        flows: The records to look at.
        cidrs: Your VPCs' and subnets' IPv4 networks.

    Raises:
        UsageError: for what is not a network.

    """
    bases = _bases(cidrs)
    kind, next_kind = pl.col("interface_type"), pl.col("next_hop_interface_type")
    endpoint, balancer = "vpc_endpoint", "network_load_balancer"
    ports = pl.col("srcport").is_in(_DHCP_PORTS) | pl.col("dstport").is_in(_DHCP_PORTS)
    across = ((kind == endpoint) & (next_kind == balancer)) | (
        (kind == balancer) & (next_kind == endpoint)
    )
    marked = flows.filter(recorded()).with_columns(
        dhcp=((pl.col("protocol") == 17) & ports).fill_null(False),
        endpoint_to_nlb=across.fill_null(False),
    )
    ends = ("srcaddr", "dstaddr")
    addresses = pl.concat([flows.select(address=pl.col(end)) for end in ends]).unique()
    places = (
        addresses.with_columns(number=address_number(pl.col("address")))
        .join(_reserved(bases), on="number")
        .select("traffic", "address")
    )
    # Few records are of interest: the rest goes before anything is summed.
    listed = places.select("address").unique()
    pairs = (
        marked.join(listed.select(srcaddr="address", at_source="address"), on="srcaddr", how="left")
        .join(listed.select(dstaddr="address", at_target="address"), on="dstaddr", how="left")
        .filter(
            pl.col("dhcp")
            | pl.col("endpoint_to_nlb")
            | pl.col("at_source").is_not_null()
            | pl.col("at_target").is_not_null()
        )
        .group_by(*ends, "dhcp", "endpoint_to_nlb")
        .agg(*totals())
    )
    columns = ("traffic", "flows", "packets", "bytes")
    by_address = (
        pl.concat([pairs.join(places.rename({"address": end}), on=end) for end in ends])
        .unique()
        .select(columns)
    )
    by_flag = (
        pairs.filter(flag).with_columns(traffic=pl.lit(flag)).select(columns)
        for flag in ("dhcp", "endpoint_to_nlb")
    )
    found = (
        pl.concat([by_address, *by_flag])
        .group_by("traffic")
        .agg(pl.col("flows", "packets", "bytes").sum())
    )
    types = marked.select(types=(kind.count() > 0) & (next_kind.count() > 0))
    unknown_address = pl.col("traffic").is_in(["dns", "vpc_router"]) & (not bases)
    unknown_types = (pl.col("traffic") == "endpoint_to_nlb") & ~pl.col("types")
    verdict = (
        pl.when(pl.col("flows") > 0)
        .then(pl.lit("seen"))
        .when(unknown_address)
        .then(pl.lit("unknown: give cidrs"))
        .when(unknown_types)
        .then(pl.lit("unknown: needs interface_type and next_hop_interface_type"))
        .otherwise(pl.lit("none, as expected"))
    )
    known = pl.col("verdict").is_in(["seen", "none, as expected"])
    return (
        table("uncaptured_traffic")
        .join(found, on="traffic", how="left")
        .join(types, how="cross")
        .with_columns(verdict=verdict)
        .sort("place")
        .select(
            "traffic",
            *(
                pl.when(known).then(pl.col(name).fill_null(0)).alias(name)
                for name in ("flows", "packets", "bytes")
            ),
            *("verdict", "explanation"),
        )
    )
