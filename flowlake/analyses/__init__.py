"""The questions in Polars: the twin of each saved query in ``queries/``.

Each function is pure and lazy: it takes `flows` as a LazyFrame with the lake's schema, reads
nothing itself, and answers with the columns, types, order and rows of the SQL of the same name.
Its keyword parameters and their defaults are the SQL's own. A question that looks back takes a
second LazyFrame, `history`, the records before those of `flows`.
"""

from collections.abc import Callable

import polars as pl

from flowlake.analyses.cost import transfer_cost
from flowlake.analyses.quality import aggregation_interval, coverage_gaps, data_quality, uncaptured
from flowlake.analyses.reach import (
    admin_port_traffic,
    egress_destinations,
    new_destinations,
    port_access,
    public_inbound,
    unanswered_connections,
)
from flowlake.analyses.refusals import (
    refused_replies,
    reject_reasons,
    rejected_flows,
    rejected_over_time,
    rejected_ports,
    rejected_sources,
)
from flowlake.analyses.talkers import (
    bytes_total,
    top_conversations,
    top_instances,
    top_interfaces,
    top_ports,
    top_subnets,
    top_talkers,
    top_vpcs,
)
from flowlake.analyses.traffic import (
    aws_service_traffic,
    inter_az_traffic,
    ip_version_breakdown,
    protocol_breakdown,
    tcp_flags_breakdown,
    traffic_over_time,
    traffic_path_breakdown,
)

ANALYSES: tuple[Callable[..., pl.LazyFrame], ...] = (
    admin_port_traffic,
    aggregation_interval,
    aws_service_traffic,
    bytes_total,
    coverage_gaps,
    data_quality,
    egress_destinations,
    inter_az_traffic,
    ip_version_breakdown,
    new_destinations,
    port_access,
    protocol_breakdown,
    public_inbound,
    refused_replies,
    reject_reasons,
    rejected_flows,
    rejected_over_time,
    rejected_ports,
    rejected_sources,
    tcp_flags_breakdown,
    top_conversations,
    top_instances,
    top_interfaces,
    top_ports,
    top_subnets,
    top_talkers,
    top_vpcs,
    traffic_over_time,
    traffic_path_breakdown,
    transfer_cost,
    unanswered_connections,
    uncaptured,
)
"""Every analysis, for `flowlake.catalog` to pair with the SQL of the same name."""

__all__ = [
    "ANALYSES",
    "admin_port_traffic",
    "aggregation_interval",
    "aws_service_traffic",
    "bytes_total",
    "coverage_gaps",
    "data_quality",
    "egress_destinations",
    "inter_az_traffic",
    "ip_version_breakdown",
    "new_destinations",
    "port_access",
    "protocol_breakdown",
    "public_inbound",
    "refused_replies",
    "reject_reasons",
    "rejected_flows",
    "rejected_over_time",
    "rejected_ports",
    "rejected_sources",
    "tcp_flags_breakdown",
    "top_conversations",
    "top_instances",
    "top_interfaces",
    "top_ports",
    "top_subnets",
    "top_talkers",
    "top_vpcs",
    "traffic_over_time",
    "traffic_path_breakdown",
    "transfer_cost",
    "unanswered_connections",
    "uncaptured",
]
