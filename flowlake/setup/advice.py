"""What a check of the setup has to say: one row for each thing that is well, odd or wrong."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

LEVELS = ("error", "drift", "warning", "note", "ok")
"""How grave it is: a flow log does not deliver; it is not as approved; traffic or its meaning is
lost; good to know; all is well."""

ADVICE = pl.Schema(
    {
        "level": pl.String(),
        "what": pl.String(),
        "resource": pl.String(),
        "account_id": pl.String(),
        "region": pl.String(),
        "why": pl.String(),
        "to_do": pl.String(),
    }
)
"""A row is about one ``resource``: a flow log, a VPC, a subnet, an interface, a bucket or a file.

``level`` is one of ``LEVELS``, ``what`` which check it is of, ``why`` what was found, and ``to_do``
what helps, null where nothing needs to be done.
"""


def advise(
    level: str,
    what: str,
    row: Mapping[str, Any],
    why: str,
    to_do: str | None = None,
    *,
    resource: str | None = None,
) -> dict[str, Any]:
    """A row of ``ADVICE`` on a flow log, or on another resource of that account and region.

    Args:
        level: one of ``LEVELS``.
        what: which check it is of.
        row: what has ``account_id`` and ``region``, and ``flow_log_id`` without a ``resource``.
        why: what was found, in sentences.
        to_do: what helps.
        resource: whom it is about.
    """
    return {
        "level": level,
        "what": what,
        "resource": resource or row["flow_log_id"],
        "account_id": row["account_id"],
        "region": row["region"],
        "why": why,
        "to_do": to_do,
    }


def advice(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows as a frame of ``ADVICE``, the gravest first."""
    grave = pl.col("level").replace_strict({name: n for n, name in enumerate(LEVELS)})
    return pl.DataFrame(list(rows), schema=ADVICE).sort(
        grave, "what", "account_id", "region", "resource", "why", maintain_order=True
    )


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first of many: ``a, b and 7 more``."""
    given = list(names)
    shown = ", ".join(given[:most])
    return shown if len(given) <= most else f"{shown} and {len(given) - most:,} more"
