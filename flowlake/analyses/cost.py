"""What the traffic costs, by the path it took."""

from collections.abc import Mapping, Sequence

import polars as pl

from flowlake.addresses import is_private
from flowlake.analyses.counting import counted, recorded, table, totals

_GB = 2**30
"""Bytes of the GB that AWS bills. A power of 2, so that Polars' division by it is exact."""

_NAT = ("nat_gateway", "regional_nat_gateway")

_SENT = (
    *("flow_direction", "traffic_path", "interface_type", "next_hop_interface_type"),
    *("az_id", "next_hop_az_id", "pkt_dst_aws_service"),
)
"""What a record's path is told by, its target's zone aside."""


def _zones(flows: pl.LazyFrame, internal: Sequence[str]) -> pl.LazyFrame:
    """The zone of each private address that sends, where its records name only one."""
    egress = pl.col("flow_direction") == "egress"
    zone = pl.col("az_id")
    return (
        flows.filter(egress, pl.col("vpc_id").is_not_null(), pl.col("srcaddr").is_not_null())
        .group_by("vpc_id", address="srcaddr")
        .agg(looked_up=zone.min(), last=zone.max())
        .filter(pl.col("looked_up") == pl.col("last"), is_private(pl.col("address"), internal))
        .drop("last")
    )


def _sent(flows: pl.LazyFrame, count: str) -> pl.LazyFrame:
    """Accepted traffic, summed over all that its path does not depend on."""
    leaves = pl.col("flow_direction").fill_null("egress") == "egress"
    chosen = {"egress": leaves, "records": counted(count)}.get(count, counted(count) & leaves)
    # A gateway's interface has no instance and sends what others sent.
    gateway = (
        pl.col("interface_type").is_null()
        & pl.col("instance_id").is_null()
        & (pl.col("pkt_srcaddr") != pl.col("srcaddr")).fill_null(True)
    )
    within_vpc = (pl.col("traffic_path").fill_null(1) == 1) & pl.col("next_hop_az_id").is_null()
    return (
        flows.filter(pl.col("action") == "ACCEPT", recorded(), chosen)
        .group_by(
            *_SENT,
            may_be_gateway=within_vpc & gateway,
            vpc_id=pl.when(within_vpc & ~gateway).then("vpc_id"),
            address=pl.when(within_vpc & ~gateway).then("dstaddr"),
        )
        .agg(*totals())
    )


def _path() -> pl.Expr:
    """The one billable path of what was sent; unknown where the fields do not tell."""
    direction, path = pl.col("flow_direction"), pl.col("traffic_path")
    kind, next_kind = pl.col("interface_type"), pl.col("next_hop_interface_type")
    zone, target, service = pl.col("az_id"), pl.col("target_az_id"), pl.col("pkt_dst_aws_service")
    gateway = path.is_in([2, 8])
    either = service.is_in(["S3", "DYNAMODB"])
    rules: list[tuple[pl.Expr, str]] = [
        (direction.is_null(), "unknown"),
        (direction != "egress", "incoming"),
        (kind == "transit_gateway", "from_transit_gateway"),
        (next_kind.is_in(_NAT), "nat_gateway"),
        (next_kind == "transit_gateway", "transit_gateway"),
        ((kind == "vpc_endpoint") | (next_kind == "vpc_endpoint"), "vpc_endpoint"),
        (kind.is_in(_NAT) & (path == 1), "nat_gateway"),
        (kind.is_in(_NAT) & path.is_null(), "unknown"),
        (gateway & service.is_null(), "internet"),
        ((path == 2) & either, "unknown"),
        (gateway, "aws_over_internet"),
        (path == 3, "virtual_private_gateway"),
        (path == 5, "inter_region_peering"),
        (path == 6, "local_gateway"),
        (path == 7, "gateway_endpoint"),
        (~path.is_in([1, 4]), "unknown"),
        (zone == target, "same_az"),
        ((zone != target) & (path == 4), "peering"),
        (zone != target, "inter_az"),
    ]
    found = pl.lit("unknown")
    for rule, name in reversed(rules):
        found = pl.when(rule).then(pl.lit(name)).otherwise(found)
    return found


def _needs() -> pl.Expr:
    """The fields that would tell an unknown path; null where none would."""
    path, target = pl.col("traffic_path"), pl.col("target_az_id")
    lacking = {
        "traffic_path": target.is_null() & path.is_null(),
        "az_id": pl.col("az_id").is_null(),
        "interface_type": pl.col("may_be_gateway"),
        "next_hop_interface_type": target.is_null() & (path.fill_null(1) == 1),
        "next_hop_az_id": target.is_null(),
    }
    names = [pl.when(lacks).then(pl.lit(name)) for name, lacks in lacking.items()]
    return (
        pl.when(pl.col("path") != "unknown")
        .then(None)
        .when(pl.col("flow_direction").is_null())
        .then(pl.lit("flow_direction, traffic_path"))
        .when(pl.col("interface_type").is_in(_NAT) & path.is_null())
        .then(pl.lit("traffic_path"))
        .when(~path.is_in([1, 4]))
        .then(None)
        .otherwise(pl.concat_str(names, separator=", ", ignore_nulls=True))
    )


def _prices(given: Mapping[str, float | None]) -> pl.LazyFrame:
    """The price table, with the prices that were given in its place."""
    asked = pl.LazyFrame(
        [(path, price) for path, price in given.items()],
        schema={"path": pl.String, "asked": pl.Float64},
        orient="row",
    )
    own = pl.col("asked").is_not_null()
    return (
        table("prices")
        .join(asked, on="path", how="left")
        .select(
            "path",
            usd_per_gb=pl.coalesce("asked", "usd_per_gb"),
            assumption=pl.when(own).then(pl.lit("The price you gave.")).otherwise("assumption"),
        )
    )


def transfer_cost(
    flows: pl.LazyFrame,
    *,
    internet: float | None = None,
    nat_gateway: float | None = None,
    inter_az: float | None = None,
    vpc_endpoint: float | None = None,
    transit_gateway: float | None = None,
    peering: float | None = None,
    inter_region_peering: float | None = None,
    internal: Sequence[str] = (),
    count: str = "egress",
) -> pl.LazyFrame:
    """Estimate what the accepted traffic costs, by the billable path it took, dearest first.

    No path is guessed: what the fields do not tell is ``unknown``, and ``needs`` names the fields
    that would.

    Args:
        flows: The records to look at.
        internet: USD per GB to the internet; None takes the price table's, as for the others.
        nat_gateway: USD per GB through a NAT gateway.
        inter_az: USD per GB between zones.
        vpc_endpoint: USD per GB through an interface endpoint.
        transit_gateway: USD per GB to a transit gateway.
        peering: USD per GB to a peered VPC in another zone.
        inter_region_peering: USD per GB to a peered VPC in another region.
        internal: Your own networks beside the private ones.
        count: Which records count: ``records``, ``egress`` or an interface id.

    """
    given = {
        "internet": internet,
        "nat_gateway": nat_gateway,
        "inter_az": inter_az,
        "vpc_endpoint": vpc_endpoint,
        "transit_gateway": transit_gateway,
        "peering": peering,
        "inter_region_peering": inter_region_peering,
    }
    return (
        _sent(flows, count)
        .join(_zones(flows, internal), on=["vpc_id", "address"], how="left")
        .with_columns(target_az_id=pl.coalesce("next_hop_az_id", "looked_up"))
        .with_columns(path=_path())
        .with_columns(needs=_needs())
        .group_by("path", "needs")
        .agg(pl.col("flows", "packets", "bytes").sum())
        .with_columns(gb=pl.col("bytes") / _GB)
        .join(_prices(given), on="path")
        .with_columns(cost_usd=pl.col("gb") * pl.col("usd_per_gb"))
        .sort(
            *("cost_usd", "bytes", "path", "needs"),
            descending=[True, True, False, False],
            nulls_last=True,
        )
        .select(
            *("path", "needs", "flows", "packets", "bytes", "gb"),
            *("usd_per_gb", "cost_usd", "assumption"),
        )
    )
