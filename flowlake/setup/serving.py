"""Whether flow logs have the fields that queries and alarms want, and whether they are alike."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from flowlake.catalog import Question, questions
from flowlake.fields import DEFAULT_FORMAT, column_name
from flowlake.setup.advice import advise, listed


class Weakness(NamedTuple):
    """What alarms lose without a field."""

    fields: tuple[str, ...]
    """Any of these missing is the weakness."""
    kinds: tuple[str, ...]
    words: str


_CONNECTIONS = (
    *("port_scan", "host_sweep", "slow_scan", "watched_port"),
    *("forbidden_endpoint", "brute_force", "beacon"),
)

WEAKNESSES: tuple[Weakness, ...] = (
    Weakness(
        ("tcp-flags",),
        _CONNECTIONS,
        "who began a connection is told by ports and order alone, and may be told wrongly",
    ),
    Weakness(
        ("pkt-srcaddr", "pkt-dstaddr"),
        _CONNECTIONS,
        "behind a NAT gateway or a load balancer it is that one which is taken for the peer",
    ),
    Weakness(
        ("flow-direction",),
        ("egress_volume",),
        "what was sent is told by private and public addresses, so that most IPv6 is left out",
    ),
    Weakness(
        ("pkt-src-aws-service", "pkt-dst-aws-service"),
        ("forbidden_endpoint", "beacon"),
        "AWS's services are told only by the file that FLOWLAKE_AWS_RANGES names",
    ),
)
"""What the fields beyond the default format do for alarms, as ``flowlake.detections`` uses them."""

WITHOUT_ACCEPT = ("egress_volume", "brute_force", "beacon")
WITHOUT_REJECT = ("reject_surge",)
"""Kinds of alarms that find nothing in a flow log of only refused, and of only accepted traffic."""

_ANEW = (
    "Make another with these fields (`flowlake setup enable`), then delete this one: AWS cannot "
    "change a format."
)


def lacking(flow_logs: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Tell which saved queries and which alarms the fields of flow logs do not serve.

    Those of one account and region that have the same fields and traffic are told of together, in
    rows on the first of them.

    Args:
        flow_logs: of ``FLOW_LOGS``; those of transit gateways have fields of their own.
    """
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _of_vpcs(flow_logs).sort("flow_log_id").iter_rows(named=True):
        fields = frozenset(row["fields"])
        key = (row["account_id"], row["region"], fields, row["traffic_type"])
        alike.setdefault(key, []).append(row)
    for first, *others in alike.values():
        for told in _lacking(first):
            if others:
                told["why"] += f" The same of {listed(each['flow_log_id'] for each in others)}."
            yield told


def _lacking(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the fields and the traffic of a flow log do not serve."""
    has = set(row["fields"])
    if without := [name for name in DEFAULT_FORMAT if name not in has]:
        yield advise(
            "warning",
            "fields",
            row,
            f"Its format lacks {listed(without, 14)}, which most queries and alarms read.",
            _ANEW,
        )
    lost = {each.name: _missing(each, has) for each in questions()}
    if lost := {name: fields for name, fields in lost.items() if fields}:
        queries = ", ".join(f"{name} ({', '.join(those)})" for name, those in lost.items())
        yield advise("note", "queries", row, f"It cannot answer {queries}.", _ANEW)
    for weak in WEAKNESSES:
        if missing := " and ".join(field for field in weak.fields if field not in has):
            why = f"Without {missing}, {weak.words}: {', '.join(weak.kinds)}."
            yield advise("note", "alarms", row, why, _ANEW)
    only = {"REJECT": WITHOUT_ACCEPT, "ACCEPT": WITHOUT_REJECT}.get(row["traffic_type"])
    if only:
        yield advise(
            "note",
            "alarms",
            row,
            f"It records only {row['traffic_type']}: {', '.join(only)} find nothing in it.",
            "Make a flow log of all traffic (ALL) instead, unless this is meant.",
        )


def unlike(flow_logs: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Tell of flow logs that differ from most of the others, by which answers differ.

    Compared are fields, whatever their order, the aggregation interval, the traffic, and in S3
    text and Parquet. Where there is no most, the value of more fields, else the one that comes
    first, is what the others are compared with.

    Args:
        flow_logs: of ``FLOW_LOGS``.
    """
    rows = _of_vpcs(flow_logs).sort("flow_log_id").to_dicts()
    for row in rows:
        row["fields"] = tuple(sorted(row["fields"]))
    for what, name in _ALIKE.items():
        of = [row for row in rows if row[what] is not None]
        counts = Counter(row[what] for row in of)
        if len(counts) < 2:
            continue
        most = max(counts, key=lambda value: (counts[value], _size(value)))
        shown = "" if what == "fields" else f" of {most}"
        for row in of:
            if row[what] != most:
                yield advise(
                    "warning",
                    "unlike others",
                    row,
                    f"{counts[most]:,} of {len(of):,} flow logs have {name}{shown}; "
                    f"this one {_otherwise(what, row[what], most)}.",
                    "Answers over both are about different things: make it anew like the others, "
                    "or ask each by its account_id, region or flow_log_id.",
                )


_ALIKE = {
    "fields": "one list of fields",
    "max_aggregation_interval": "an aggregation interval (seconds)",
    "traffic_type": "a traffic type",
    "file_format": "a file format",
}


def _of_vpcs(flow_logs: pl.DataFrame) -> pl.DataFrame:
    """Those whose format is known and whose fields are not a transit gateway's."""
    return flow_logs.filter(
        ~pl.col("resource_id").str.starts_with("tgw-"), pl.col("fields").list.len() > 0
    )


def _otherwise(what: str, value: Any, most: Any) -> str:
    if what != "fields":
        return f"has {value}"
    less, more = sorted(set(most) - set(value)), sorted(set(value) - set(most))
    parts = [f"lacks {listed(less)}"] if less else []
    return " and ".join([*parts, *([f"also has {listed(more)}"] if more else [])])


def _size(value: Any) -> int:
    return len(value) if isinstance(value, tuple) else 0


def _missing(question: Question, has: set[str]) -> list[str]:
    """The fields that a question needs and a format does not have, by AWS's names."""
    columns = {column_name(name) for name in has}
    return [name.replace("_", "-") for name in question.query.needs if name not in columns]
