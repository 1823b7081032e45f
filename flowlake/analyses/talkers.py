"""Who talks most: addresses, pairs, ports, interfaces, instances, subnets and VPCs."""

from collections.abc import Sequence

import polars as pl

from flowlake.addresses import in_networks
from flowlake.analyses.counting import counted, distinct, recorded, seen, table, totals
from flowlake.errors import UsageError


def top_talkers(
    flows: pl.LazyFrame,
    *,
    side: str = "source",
    packet_level: bool = False,
    action: str | None = None,
    protocol: int | None = None,
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """Rank addresses by the bytes they sent, received, or both.

    Args:
        flows: The records to look at.
        side: ``source`` counts what an address sent, ``destination`` what it received, ``both``
            the sum of the two.
        packet_level: Take the addresses in the packet, ``pkt_srcaddr`` and ``pkt_dstaddr``, which
            differ behind a NAT gateway.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many addresses to keep.

    Raises:
        UsageError: for a ``side`` or a ``count`` that is none.

    """
    prefix = "pkt_" if packet_level else ""
    ends = {"source": ["srcaddr"], "destination": ["dstaddr"], "both": ["srcaddr", "dstaddr"]}
    if side not in ends:
        raise UsageError(f"side is source, destination or both, not {side}.")
    chosen = _chosen(flows, count, action, protocol)
    return (
        pl.concat(
            [
                chosen.select(address=pl.col(prefix + end), packets="packets", bytes="bytes")
                for end in ends[side]
            ]
        )
        .filter(pl.col("address").is_not_null())
        .group_by("address")
        .agg(*totals())
        .select("address", "bytes", "packets", "flows")
        .sort("bytes", "address", descending=[True, False])
        .head(top)
    )


def top_conversations(
    flows: pl.LazyFrame,
    *,
    action: str | None = None,
    protocol: int | None = None,
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """Rank pairs of addresses by the bytes between them, both directions in one row.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many pairs to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    forward = pl.col("srcaddr") <= pl.col("dstaddr")
    return (
        _chosen(flows, count, action, protocol)
        .filter(pl.col("srcaddr").is_not_null(), pl.col("dstaddr").is_not_null())
        .group_by("srcaddr", "dstaddr")
        .agg(*totals(), *seen())
        .group_by(
            address_a=pl.when(forward).then("srcaddr").otherwise("dstaddr"),
            address_b=pl.when(forward).then("dstaddr").otherwise("srcaddr"),
        )
        .agg(
            pl.col("flows", "packets", "bytes").sum(),
            pl.col("bytes").filter(forward).sum().alias("bytes_a_to_b"),
            pl.col("bytes").filter(~forward).sum().alias("bytes_b_to_a"),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
        )
        .sort("bytes", "address_a", "address_b", descending=[True, False, False])
        .head(top)
    )


def top_ports(
    flows: pl.LazyFrame,
    *,
    action: str | None = None,
    protocol: int | None = None,
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """Rank services by bytes, taking the lower of a record's two ports to be the service's.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many ports to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    answering = pl.col("srcport") < pl.col("dstport")
    numbers = ("flows", "packets", "bytes")
    return (
        _chosen(flows, count, action, protocol)
        .filter(pl.col("srcport") > 0, pl.col("dstport") > 0)
        .group_by(
            "protocol",
            port=pl.min_horizontal("srcport", "dstport"),
            address=pl.when(answering).then("srcaddr").otherwise("dstaddr"),
        )
        .agg(*totals())
        .group_by("port", "protocol")
        .agg(
            pl.col(*numbers).sum(),
            pl.col("address").count().cast(pl.Int64).alias("addresses"),
        )
        .join(table("protocols"), on="protocol", how="left")
        .join(table("services"), on=["port", "protocol"], how="left")
        .select("port", "protocol", "keyword", "service", *numbers, "addresses")
        .sort("bytes", "port", "protocol", descending=[True, False, False], nulls_last=True)
        .head(top)
    )


def top_interfaces(
    flows: pl.LazyFrame, *, action: str | None = None, count: str = "records", top: int = 20
) -> pl.LazyFrame:
    """Rank network interfaces by the bytes of the records they wrote.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many interfaces to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    facts = _greatest("account_id", "region", "vpc_id", "instance_id")
    return _places("interface_id", _chosen(flows, count, action), facts, top)


def top_instances(
    flows: pl.LazyFrame, *, action: str | None = None, count: str = "records", top: int = 20
) -> pl.LazyFrame:
    """Rank EC2 instances by the bytes recorded at all their interfaces.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many instances to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    facts = [*_greatest("account_id"), _interfaces()]
    return _places("instance_id", _chosen(flows, count, action), facts, top)


def top_subnets(
    flows: pl.LazyFrame, *, action: str | None = None, count: str = "records", top: int = 20
) -> pl.LazyFrame:
    """Rank subnets by the bytes recorded at their interfaces.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many subnets to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    facts = [*_greatest("vpc_id"), _interfaces()]
    return _places("subnet_id", _chosen(flows, count, action), facts, top)


def top_vpcs(
    flows: pl.LazyFrame, *, action: str | None = None, count: str = "records", top: int = 20
) -> pl.LazyFrame:
    """Rank VPCs by the bytes recorded at their interfaces.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many VPCs to keep.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    account = pl.col("account_id")
    facts = [account.filter(account != "unknown").max(), _interfaces()]
    return _places("vpc_id", _chosen(flows, count, action), facts, top)


def bytes_total(
    flows: pl.LazyFrame,
    *,
    source: Sequence[str] = (),
    destination: Sequence[str] = (),
    packet_level: bool = False,
    action: str | None = None,
    protocol: int | None = None,
    count: str = "records",
    top: int = 50,
) -> pl.LazyFrame:
    """Sum the bytes of each source and destination, one row for each way.

    Args:
        flows: The records to look at.
        source: Only sources in these networks; none given keeps all.
        destination: Only destinations in these networks; none given keeps all.
        packet_level: Take the addresses in the packet, ``pkt_srcaddr`` and ``pkt_dstaddr``, which
            differ behind a NAT gateway.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many pairs to keep.

    Raises:
        UsageError: for a network or a ``count`` that is none.

    """
    prefix = "pkt_" if packet_level else ""
    key = ("srcaddr", "dstaddr")
    pairs = (
        _chosen(flows, count, action, protocol)
        .select(*(pl.col(prefix + end).alias(end) for end in key), "packets", "bytes")
        .filter(pl.col("srcaddr").is_not_null(), pl.col("dstaddr").is_not_null())
        .group_by(*key)
        .agg(*totals())
    )
    for end, networks in zip(key, (source, destination), strict=True):
        if networks:
            pairs = pairs.filter(in_networks(pl.col(end), networks))
    return pairs.sort("bytes", *key, descending=[True, False, False]).head(top)


def _chosen(
    flows: pl.LazyFrame, count: str, action: str | None, protocol: int | None = None
) -> pl.LazyFrame:
    """The records that count, of one verdict and one protocol unless these are None."""
    chosen = flows.filter(counted(count))
    if action is not None:
        chosen = chosen.filter(pl.col("action") == action)
    if protocol is not None:
        chosen = chosen.filter(pl.col("protocol") == protocol)
    return chosen


def _greatest(*columns: str) -> list[pl.Expr]:
    """The greatest text of each column, which is its only one where it does not vary."""
    return [pl.col(column).max() for column in columns]


def _interfaces() -> pl.Expr:
    return distinct("interface_id").alias("interfaces")


def _places(key: str, flows: pl.LazyFrame, facts: Sequence[pl.Expr], top: int) -> pl.LazyFrame:
    """Rank whatever `key` names by bytes: its facts, then its totals and its two directions."""
    flow_count, packets, total_bytes = totals()
    one_way = [
        pl.col("bytes")
        .filter(pl.col("flow_direction") == direction)
        .sum()
        .alias(f"bytes_{direction}")
        for direction in ("ingress", "egress")
    ]
    rejected = (pl.col("action") == "REJECT").sum().cast(pl.Int64).alias("rejected")
    return (
        flows.filter(pl.col(key).is_not_null(), recorded())
        .group_by(key)
        .agg(*facts, flow_count, rejected, packets, total_bytes, *one_way)
        .sort("bytes", key, descending=[True, False])
        .head(top)
    )
