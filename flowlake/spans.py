"""Which times the alarms look at: those of new records, and in what pieces.

What is new are the files that commits have added to ``flows``, except those that only hold others'
rows anew.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from flowlake.detections import GAP
from flowlake.errors import StorageError
from flowlake.lake import Lake
from flowlake.window import parse_time

Span = tuple[datetime, datetime]
"""From when to when; both included."""


def new_spans(lake: Lake, after: int | None) -> list[Span]:
    """The times of the records that commits after a version of ``flows`` added.

    After None, or where the log no longer goes back so far, of all records.
    """
    if after == lake.version:
        return []
    found: list[Span] | None = None
    if after is not None and after < lake.version:
        root = lake.tables.table_url("flows")
        names = [f"{root}/_delta_log/{n:020}.json" for n in range(after + 1, lake.version + 1)]
        try:
            with ThreadPoolExecutor(16) as pool:
                bodies = list(pool.map(lake.tables.storage.get, names))
            found = [span for body in bodies for span in _added(bytes(body))]
        except StorageError:  # an entry that has been cleaned up
            found = None
    if found is None:
        found = lake.spans()
    return joined(found)


def _added(entry: bytes) -> list[Span]:
    spans = []
    for line in entry.splitlines():
        action = json.loads(line).get("add")
        if action and action["dataChange"]:
            statistics = json.loads(action.get("stats") or "{}")
            ends = [statistics.get(e, {}).get("start_time") for e in ("minValues", "maxValues")]
            if None not in ends:
                first, last = (parse_time(end, datetime.now(UTC)) for end in ends)
                spans.append((first, last))
    return spans


def joined(spans: Iterable[Span], apart: timedelta = GAP) -> list[Span]:
    """Spans in order, with those that are no farther apart put together."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def within(asked: Span, held: Iterable[Span]) -> list[Span]:
    """The part of what is held that is asked for."""
    begin, end = asked
    return [(max(b, begin), min(e, end)) for b, e in joined(held) if b <= end and e >= begin]


def in_pieces(spans: Iterable[Span], length: timedelta) -> list[list[Span]]:
    """Spans cut, and put together, so that none of the pieces reaches farther than the length."""
    pieces: list[list[Span]] = []
    for begin, end in spans:
        first = begin
        while True:
            cut = (first, min(end, first + length))
            if pieces and cut[1] - pieces[-1][0][0] <= length:
                pieces[-1].append(cut)
            else:
                pieces.append([cut])
            if cut[1] >= end:
                break
            first = cut[1]
    return pieces
