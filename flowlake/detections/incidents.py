"""What a detection finds: incidents, one row each, and how events become them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

import polars as pl

INCIDENTS = pl.Schema(
    {
        "subject": pl.String(),
        "who": pl.String(),
        "whom": pl.String(),
        "first_seen": pl.Datetime("us", "UTC"),
        "last_seen": pl.Datetime("us", "UTC"),
        "flows": pl.Int64(),
        "packets": pl.Int64(),
        "bytes": pl.Int64(),
        "peak": pl.Float64(),
        "counts": pl.String(),
        "why": pl.String(),
        "condition": pl.String(),
    }
)
"""A row is one incident.

``subject`` names what the incident is about in a way that stays the same as it grows: two incidents
of a rule with the same subject are never at the same time. ``who`` acts: an address, a network or
an interface; ``whom`` it acts on, the same, or null. ``first_seen`` is the start of the first
record, ``last_seen`` the end of the last. ``flows``, ``packets`` and ``bytes`` count the records
that are its evidence. ``peak`` is the largest value of what the detection's threshold is compared
with; an incident has at least the threshold. ``counts`` has the kind's own numbers, a JSON object.
``why`` is a sentence for a person who was just woken up. ``condition`` is SQL on the columns of
``flows`` that, between ``first_seen`` and ``last_seen``, selects the evidence.
"""

GAP = timedelta(hours=1)
"""An hour without a trace ends an incident."""

Type = Literal["integer", "number", "duration", "ports", "scope", "allowed", "networks", "choice"]
"""How a parameter is written in ``alarms.toml``, and what a detection gets.

``duration``: ``"5m"``, ``"7d"`` -> timedelta. ``ports``: a list of port numbers -> tuple of int.
``scope``: a list of addresses, CIDRs, ids and ``tag:Name=web*`` -> ``Members``. ``networks``: a
list of CIDRs -> tuple of str. ``allowed``: a list of what may be reached -> tuple of ``Allowed``.
``choice``: one of some words.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What can be set of a detection; without a default it must be."""

    name: str
    type: Type
    meaning: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """A kind of alarm: the function that finds its incidents, and what there is to set.

    ``find(flows, **parameters)`` gives a frame of ``INCIDENTS``; with ``learns`` it is
    ``find(flows, history, **parameters)``, where ``history`` has the records of the
    ``days`` before those of ``flows``.
    """

    kind: str
    title: str
    about: str
    """One or two sentences: what is found, and what makes an incident."""
    source: str
    """Where the method or the threshold comes from."""
    find: Callable[..., pl.DataFrame]
    parameters: tuple[Parameter, ...]
    severity: Literal["low", "medium", "high", "critical"]
    threshold: str | None = None
    """The parameter that ``peak`` is compared with."""
    window: str | None = None
    """The parameter that says over how long the evidence of an incident is counted."""
    learns: bool = False
    by_clock: bool = False
    """Whether ``find`` also takes ``now``, and is asked though there is no new record."""

    def defaults(self) -> Mapping[str, Any]:
        """The parameters that have a default."""
        return MappingProxyType({p.name: p.default for p in self.parameters if not p.required})


def in_sessions(events: pl.DataFrame, by: Sequence[str], gap: timedelta = GAP) -> pl.DataFrame:
    """Number the sessions of each subject, from 0, in a column ``session``.

    A session ends where nothing of the same subject is seen for as long as the gap.

    Args:
        events: with ``first_seen`` and ``last_seen``, neither null.
        by: the columns that tell subjects apart.
        gap: the silence that ends a session; one that is exactly as long does not.
    """
    until_now = pl.col("last_seen").cum_max().shift(1).over(by)
    begins = (pl.col("first_seen") - until_now > gap).fill_null(False)
    return events.sort(*by, "first_seen", "last_seen").with_columns(
        session=begins.cast(pl.Int64).cum_sum().over(by)
    )
