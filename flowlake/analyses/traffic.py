"""What the traffic was: divided by protocol, over time, by path and by zone."""

import polars as pl

from flowlake.analyses.counting import counted, distinct, recorded, share, table, totals


def protocol_breakdown(flows: pl.LazyFrame, *, count: str = "records") -> pl.LazyFrame:
    """Divide the traffic among IP protocols, largest byte count first.

    ``share_of_bytes`` runs from 0 to 1 and is null where no bytes were counted at all.

    Args:
        flows: The records to look at.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    return (
        flows.filter(pl.col("protocol").is_not_null(), counted(count))
        .group_by("protocol")
        .agg(*totals())
        .join(table("protocols"), on="protocol", how="left")
        .select(
            *("protocol", "keyword", "flows", "packets", "bytes"), share_of_bytes=share("bytes")
        )
        .sort("bytes", "protocol", descending=[True, False])
    )


def traffic_over_time(
    flows: pl.LazyFrame,
    *,
    minutes: int = 60,
    action: str | None = None,
    protocol: int | None = None,
    count: str = "records",
) -> pl.LazyFrame:
    """Count the traffic in each bucket of time, oldest first; an empty bucket has no row.

    Buckets are counted from 1970-01-01T00:00Z. A record counts whole in the one it starts in.

    Args:
        flows: The records to look at.
        minutes: Width of a bucket in minutes; 0 counts as 1.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    start, width = pl.col("start_time").dt.epoch("us"), max(minutes, 1) * 60_000_000
    chosen = flows.filter(pl.col("start_time").is_not_null(), recorded(), counted(count))
    if action is not None:
        chosen = chosen.filter(pl.col("action") == action)
    if protocol is not None:
        chosen = chosen.filter(pl.col("protocol") == protocol)
    return (
        chosen.group_by(bucket_start=(start - start % width).cast(pl.Datetime("us", "UTC")))
        .agg(*totals(), rejected=(pl.col("action") == "REJECT").sum().cast(pl.Int64))
        .select("bucket_start", "flows", "rejected", "packets", "bytes")
        .sort("bucket_start")
    )


def ip_version_breakdown(flows: pl.LazyFrame, *, count: str = "records") -> pl.LazyFrame:
    """Divide the traffic among IPv4, IPv6 and EFA, largest byte count first.

    A record without ``type`` is IPv6 if its ``srcaddr`` has a colon, else IPv4; without either it
    is left out. ``share_of_bytes`` is null where no bytes were counted at all.

    Args:
        flows: The records to look at.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    by_address = (
        pl.when(pl.col("srcaddr").str.contains(":", literal=True))
        .then(pl.lit("IPv6"))
        .when(pl.col("srcaddr").is_not_null())
        .then(pl.lit("IPv4"))
    )
    return (
        flows.filter(recorded(), counted(count))
        .with_columns(type=pl.coalesce("type", by_address))
        .filter(pl.col("type").is_not_null())
        .group_by("type")
        .agg(*totals())
        .select("type", "flows", "packets", "bytes", share_of_bytes=share("bytes"))
        .sort("bytes", "type", descending=[True, False])
    )


def tcp_flags_breakdown(
    flows: pl.LazyFrame, *, action: str | None = None, count: str = "records"
) -> pl.LazyFrame:
    """Divide TCP records among values of ``tcp_flags``, most records first.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    chosen = flows.filter(
        pl.col("tcp_flags").is_not_null(), pl.col("protocol") == 6, counted(count)
    )
    if action is not None:
        chosen = chosen.filter(pl.col("action") == action)
    return (
        chosen.group_by("tcp_flags")
        .agg(*totals())
        .join(table("tcp_flags"), on="tcp_flags", how="left")
        .select(*("tcp_flags", "names", "flows", "packets", "bytes"), share_of_flows=share("flows"))
        .sort("flows", "tcp_flags", descending=[True, False])
    )


def traffic_path_breakdown(flows: pl.LazyFrame, *, count: str = "egress") -> pl.LazyFrame:
    """Divide what left by ``traffic_path``, largest byte count first.

    Only records that have a path or are egress are looked at, whatever ``count`` says. A null path
    is egress for which AWS named none. ``share_of_bytes`` is null where no bytes were counted.

    Args:
        flows: The records to look at.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    leaving = pl.col("traffic_path").is_not_null() | (pl.col("flow_direction") == "egress")
    return (
        flows.filter(leaving, recorded(), counted(count))
        .group_by("traffic_path")
        .agg(*totals())
        .join(table("traffic_paths"), on="traffic_path", how="left")
        .select(
            *("traffic_path", "meaning", "flows", "packets", "bytes"),
            share_of_bytes=share("bytes"),
        )
        .sort("bytes", "traffic_path", descending=[True, False], nulls_last=True)
    )


def aws_service_traffic(flows: pl.LazyFrame, *, count: str = "records") -> pl.LazyFrame:
    """Sum the traffic from and to the address ranges of AWS services, largest byte count first.

    A record with a service at both ends counts under each. ``addresses`` is how many addresses of
    the service took part.

    Args:
        flows: The records to look at.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    chosen = flows.filter(counted(count))
    key = ("aws_service", "direction")
    sides = [
        chosen.select(
            aws_service=f"pkt_{end}_aws_service",
            direction=pl.lit(direction),
            address=f"pkt_{end}addr",
            packets="packets",
            bytes="bytes",
        )
        for end, direction in (("src", "from"), ("dst", "to"))
    ]
    return (
        pl.concat(sides)
        .filter(pl.col("aws_service").is_not_null())
        .group_by(*key)
        .agg(*totals(), addresses=distinct("address"))
        .select(*key, "flows", "packets", "bytes", "addresses")
        .sort("bytes", *key, descending=[True, False, False])
    )


def inter_az_traffic(flows: pl.LazyFrame, *, count: str = "egress", top: int = 20) -> pl.LazyFrame:
    """Rank pairs of Availability Zones by the bytes that crossed from one to the other.

    The peer's zone is ``next_hop_az_id``; for a record without it, the zone of the other address,
    if the egress records of the same VPC place that address in one zone only.

    Args:
        flows: The records to look at, and to look the zones of addresses up in.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many rows to keep.

    """
    direction = pl.col("flow_direction")
    place = ("vpc_id", "address")
    zones = (
        flows.filter(direction == "egress", pl.col("az_id").is_not_null())
        .group_by("vpc_id", address="srcaddr")
        .agg(first=pl.col("az_id").min(), last=pl.col("az_id").max())
        .filter(pl.col("first") == pl.col("last"))
        .select(*place, zone="first")
    )
    other = pl.when(direction == "egress").then("dstaddr").when(direction == "ingress")
    key = ("az_id", "peer_az_id", "known_by")
    return (
        flows.filter(pl.col("az_id").is_not_null(), counted(count))
        .group_by("az_id", "next_hop_az_id", "vpc_id", address=other.then("srcaddr"))
        .agg(*totals())
        .join(zones, on=place, how="left")
        .with_columns(
            peer_az_id=pl.coalesce("next_hop_az_id", "zone"),
            known_by=pl.when(pl.col("next_hop_az_id").is_null())
            .then(pl.lit("address"))
            .otherwise(pl.lit("next_hop")),
        )
        .filter(pl.col("az_id") != pl.col("peer_az_id"))
        .group_by(*key)
        .agg(pl.col("flows", "packets", "bytes").sum())
        .sort("bytes", *key, descending=[True, False, False, False])
        .head(top)
    )
