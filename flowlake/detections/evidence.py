"""First contacts -> incidents: what is said of a scan, and where its records are."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from flowlake.detections.incidents import INCIDENTS
from flowlake.detections.wording import quoted, span, together
from flowlake.protocols import PROTOCOLS

SHOWN, LISTED = 20, 100
"""Ports and addresses that ``counts`` lists at most."""

_SENT, _RECEIVED = "coalesce(pkt_srcaddr, srcaddr)", "coalesce(pkt_dstaddr, dstaddr)"


def summed(contacts: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Sum up the first contacts of each incident: how many, of whom, when, with what outcome."""
    seen = pl.struct("port", "protocol").sort_by("first_seen", "target", "port", "protocol")
    return contacts.group_by(by).agg(
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
        pl.col("flows", "packets", "bytes").sum(),
        contacts=pl.len(),
        failed=pl.col("failed").sum(),
        answered=pl.col("answered").sum(),
        ports=seen.unique(maintain_order=True),
        targets=pl.col("target").sort_by("first_seen", "target").unique(maintain_order=True),
    )


def incidents(
    found: pl.DataFrame, tell: Callable[[dict[str, Any]], dict[str, Any]]
) -> pl.DataFrame:
    """Make incidents of what `summed` gave, in a stable order.

    Args:
        found: a row for each incident, with ``peak``.
        tell: gives ``subject``, ``who``, ``why``, ``condition`` and more ``counts`` of a row.
    """
    kept = ("first_seen", "last_seen", "flows", "packets", "bytes", "peak")
    rows = []
    for row in found.iter_rows(named=True):
        told = tell(row)
        counts = {
            "ports": len(row["ports"]),
            "targets": len(row["targets"]),
            **{name: row[name] for name in ("contacts", "failed", "answered")},
            **told.pop("counts", {}),
            "first_ports": [named(port) for port in row["ports"][:SHOWN]],
            "first_targets": row["targets"][:LISTED],
        }
        common = {name: row[name] for name in kept}
        whom = together(row["targets"])
        rows.append({**common, "whom": whom, "counts": json.dumps(counts), **told})
    made = pl.DataFrame(rows, schema=INCIDENTS)
    return made.sort("first_seen", "subject")


def named(port: dict[str, int]) -> str:
    """A port as people write it: ``445/tcp``, ``icmp``."""
    keyword = PROTOCOLS.get(port["protocol"], str(port["protocol"])).lower()
    return f"{port['port']}/{keyword}" if port["port"] else keyword


def place(targets: Sequence[str]) -> str:
    """Whom it was about, in words."""
    if len(targets) == 1:
        return targets[0]
    network = together(targets)
    return f"{len(targets):,} addresses" + (f" in {network}" if network else "")


def lasting(row: dict[str, Any]) -> str:
    """How long an incident has lasted, in words."""
    return span(row["last_seen"] - row["first_seen"])


def between(sources: Sequence[str], targets: Sequence[str] = ()) -> str:
    """SQL for the records of both directions between sources and targets, or of all with them."""
    ours = _listed(sources)
    if not targets:
        return f"({_SENT} IN {ours} OR {_RECEIVED} IN {ours})"
    theirs = _listed(targets)
    return (
        f"(({_SENT} IN {ours} AND {_RECEIVED} IN {theirs})"
        f" OR ({_SENT} IN {theirs} AND {_RECEIVED} IN {ours}))"
    )


def _listed(addresses: Sequence[str]) -> str:
    return f"({', '.join(map(quoted, addresses))})"
