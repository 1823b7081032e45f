"""Rules over the lake's new records -> findings -> deliveries.

What is new are the files that commits have added to ``flows`` since an alarm last looked, except
those that only hold others' rows anew. The hours they touch are looked at again, with as much
before them as the detection needs, so that the outcome is that of one look at everything: an
incident that two conversions brought is one, and late objects count.
"""

import json
import logging
import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from flowlake.committing import Tables
from flowlake.delivering import deliver
from flowlake.detections import GAP, INCIDENTS
from flowlake.errors import CommitConflict, FlowLakeError
from flowlake.findings import Finding, commit, due, identify, see, with_delivery
from flowlake.interfaces import inventory, named
from flowlake.lake import Lake, open_lake
from flowlake.rules import Alarm, Rules, read_rules
from flowlake.scopes import members
from flowlake.spans import Span, in_pieces, joined, new_spans, within
from flowlake.storage import Access
from flowlake.window import parse_time

logger = logging.getLogger(__name__)

TRIES = 20
"""How often a run begins anew because another process committed findings first."""

PIECE = timedelta(days=1)
"""How much is looked at at once, or as much as a detection looks back: a new rule looks at all of a
lake, which may not fit into memory."""

FARTHEST = timedelta(days=31)
"""How far back an incident that still goes on is looked at again."""

Tell = Callable[[str, int, int], None]


def say_nothing(name: str, number: int, count: int) -> None:
    """Tell nobody how far a run is."""


@dataclass(slots=True)
class AlarmRun:
    """What a run of the alarms did."""

    new: list[Finding] = field(default_factory=list)
    """Incidents found for the first time."""
    grown: list[Finding] = field(default_factory=list)
    """Incidents that were known, of which there is more now."""
    sent: int = 0
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Deliveries that failed, and are made again by the next run: finding, delivery, reason."""


def run_alarms(
    lake: str | os.PathLike[str],
    rules: str | os.PathLike[str] | Rules,
    access: Access = Access(),
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    progress: Tell = say_nothing,
) -> AlarmRun:
    """Evaluate what is new in a lake, keep what is found in it, and deliver what is due.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        rules: an ``alarms.toml``, or what ``read_rules`` made of one.
        access: AWS profile and requester-pays; also for what is delivered to SNS.
        since: evaluate the records from then on instead of what is new.
        until: evaluate the records before that instead of what is new.
        progress: is told which alarm is evaluated, its number, and how many there are.

    Raises:
        UsageError: for what is wrong in the rules.
        LakeError: when there is no lake.
    """
    if not isinstance(rules, Rules):
        rules = read_rules(rules, access)
    now = datetime.now(UTC)
    asked = None
    if since is not None or until is not None:
        begin = parse_time(since, now) if since is not None else datetime.min.replace(tzinfo=UTC)
        asked = (begin, parse_time(until, now) if until is not None else now)
    done = AlarmRun()
    for left in reversed(range(TRIES)):
        try:
            tables, claimed = _evaluate(lake, rules, access, asked, done, progress)
            break
        except CommitConflict:
            if not left:
                raise
            logger.info("another run committed first: evaluating again")
    _deliver(tables, rules, claimed, done)
    return done


def _evaluate(
    place: str | os.PathLike[str],
    rules: Rules,
    access: Access,
    asked: Span | None,
    done: AlarmRun,
    progress: Tell,
) -> tuple[Tables, list[tuple[Finding, str]]]:
    """Commit what is found; the deliveries that this process has claimed by it."""
    lake = open_lake(place, access)
    seen = see(lake.tables)
    done.new, done.grown = [], []
    touched: dict[int | None, list[Span]] = {}
    known = inventory(lake.tables)
    changed: dict[str, Finding] = {}
    for number, alarm in enumerate(rules.alarms, 1):
        progress(alarm.name, number, len(rules.alarms))
        looked = seen.looked(alarm.name)
        if asked is None and looked not in touched:
            touched[looked] = new_spans(lake, looked)
        spans = within(asked, lake.spans()) if asked else touched[looked]
        logger.info("%s: %d spans of time, after version %s", alarm.name, len(spans), looked)
        length, now = max(PIECE, alarm.window, timedelta(days=alarm.past)), None
        pieces = in_pieces(spans, length)
        if alarm.detection.by_clock and asked is None and (held := lake.spans()):
            last = max(end for _, end in held)
            now = max(datetime.now(UTC), last)  # a clock may be behind the records
            pieces = [[(last, now)]]
        for piece in pieces:
            so_far = {**seen.findings, **changed}
            incidents = evaluate(lake, alarm, piece, so_far.values(), known, now)
            for finding in _matched(alarm, incidents, so_far.values()):
                changed[finding["id"]] = finding
    named = _with_places(lake, changed.values(), known)
    fresh = [each for each in named if each["id"] not in seen.findings]
    done.new = [each for each in fresh if each["state"] != "merged"]
    done.grown = [each for each in named if each["id"] in seen.findings]
    now = datetime.now(UTC)
    newest = {**seen.findings, **{each["id"]: each for each in named}}
    claims = [(i, name) for i, f in newest.items() for name in due(f, rules.deliveries, now)]
    for i, name in claims:
        newest[i] = with_delivery(newest[i], name, "claimed", now)
    rows = [newest[i] for i in dict.fromkeys([*changed, *(i for i, _ in claims)])]
    looked_at = {} if asked else {each.name: lake.version for each in rules.alarms}
    if rows or any(seen.looked(name) != version for name, version in looked_at.items()):
        commit(lake.tables, seen, rows, looked_at)
    return lake.tables, [(newest[i], name) for i, name in claims]


def evaluate(
    lake: Lake,
    alarm: Alarm,
    spans: Sequence[Span],
    known: Iterable[Finding] = (),
    names: pl.DataFrame | None = None,
    now: datetime | None = None,
) -> pl.DataFrame:
    """Find the incidents of an alarm that have a trace in the spans.

    Args:
        lake: opened; its snapshot is what is looked at.
        alarm: the rule.
        spans: of records' starts, in order and apart from each other.
        known: findings of before: those that may go on are looked at from their begin.
        names: the inventory, for scopes.
        now: the time, for what goes by the clock; else by the newest record.

    Returns:
        A frame of ``detections.INCIDENTS``.
    """
    resolved = None if names is None or names.is_empty() else names
    mine = [each for each in known if each["alarm"] == alarm.name and each["state"] != "merged"]
    wide = joined(_widened(span, alarm, mine) for span in spans)
    found = []
    for begin, end in wide:
        chosen = {"account": alarm.accounts or None, "region": alarm.regions or None}
        flows = lake.flows(begin, end + timedelta(microseconds=1), **chosen)
        given = dict(alarm.given)
        for parameter in alarm.detection.parameters:
            if parameter.type == "scope" and parameter.name in given:
                given[parameter.name] = members(given[parameter.name], flows, resolved)
        if now is not None:
            given["now"] = now
        frames = [flows]
        if alarm.detection.learns:
            frames.append(lake.history(begin, alarm.past, **chosen))
        incidents = alarm.detection.find(*frames, **given)
        traced = [
            pl.col("first_seen").le(last) & pl.col("last_seen").ge(first) for first, last in spans
        ]
        found.append(incidents.filter(pl.any_horizontal(traced)))
    return pl.concat(found) if found else pl.DataFrame(schema=INCIDENTS)


def _widened(span: Span, alarm: Alarm, known: Sequence[Finding]) -> Span:
    """A span with what a detection must see before it, and the incidents that reach into it."""
    first, last = span
    floor = datetime.min.replace(tzinfo=UTC) + FARTHEST
    begin = max(first, floor) - max(alarm.window, GAP)
    end = min(last, datetime.max.replace(tzinfo=UTC) - FARTHEST) + GAP
    for finding in known:
        if finding["first_seen"] <= end + GAP and finding["last_seen"] >= begin - GAP:
            begin = min(begin, max(finding["first_seen"], begin - FARTHEST))
            end = max(end, finding["last_seen"])
    return begin, end


def _matched(alarm: Alarm, incidents: pl.DataFrame, known: Iterable[Finding]) -> list[Finding]:
    """The findings that incidents make or change."""
    mine: dict[str, list[Finding]] = defaultdict(list)
    for finding in known:
        if finding["alarm"] == alarm.name and finding["state"] != "merged":
            mine[finding["subject"]].append(finding)
    now = datetime.now(UTC)
    changed = []
    for incident in incidents.sort("first_seen", "subject").iter_rows(named=True):
        same = sorted(
            (
                each
                for each in mine[incident["subject"]]
                if each["first_seen"] <= incident["last_seen"] + GAP
                and each["last_seen"] >= incident["first_seen"] - GAP
            ),
            key=lambda each: (each["first_seen"], each["id"]),
        )
        if not same:
            changed.append(_new(alarm, incident, now))
            continue
        kept, *others = same
        grown = _grown(kept, incident)
        if grown != kept:
            changed.append({**grown, "updated_at": now})
        changed += [{**each, "state": "merged", "updated_at": now} for each in others]
    return changed


def _new(alarm: Alarm, incident: Mapping[str, Any], now: datetime) -> Finding:
    return {
        **incident,
        "id": identify(alarm.name, incident["subject"], incident["first_seen"]),
        "alarm": alarm.name,
        "kind": alarm.kind,
        "severity": alarm.severity,
        "state": "open",
        "who_name": None,
        "whom_name": None,
        "account_ids": [],
        "regions": [],
        "found_at": now,
        "updated_at": now,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "note": None,
        "deliveries": [
            {"name": name, "state": "due", "attempts": 0, "at": now, "error": None}
            for name in alarm.deliver
        ],
        "revision": 0,
    }


def _grown(finding: Finding, incident: Mapping[str, Any]) -> Finding:
    """A finding as it is now; if only a part of it was looked at, its figures do not shrink."""
    first = min(finding["first_seen"], incident["first_seen"])
    last = max(finding["last_seen"], incident["last_seen"])
    if incident["flows"] < finding["flows"] or incident["first_seen"] > finding["first_seen"]:
        return {**finding, "first_seen": first, "last_seen": last}
    return {**finding, **incident, "first_seen": first, "last_seen": last}


def _with_places(lake: Lake, findings: Iterable[Finding], names: pl.DataFrame) -> list[Finding]:
    """Findings with the accounts and regions of their records, and the names of who is in them."""
    known = list(findings)
    if not known:
        return []
    ends = {each for f in known for each in (f["who"], f["whom"]) if each}
    span = (min(f["first_seen"] for f in known), max(f["last_seen"] for f in known))
    columns = ("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr", "interface_id")
    seen = (
        lake.flows(span[0], span[1] + timedelta(microseconds=1))
        .filter(pl.any_horizontal(pl.col(name).is_in(ends) for name in columns))
        .select(*columns, "account_id", "region")
        .unique()
        .collect(engine="streaming")
    )
    places: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in seen.iter_rows(named=True):
        for name in columns:
            places[row[name]].add((row["account_id"], row["region"]))
    called = _names([(each["who"], each["whom"]) for each in known], names)
    return [
        {
            **finding,
            "account_ids": sorted({a for a, _ in _of(places, finding) if a}),
            "regions": sorted({r for _, r in _of(places, finding) if r}),
            "who_name": who_name,
            "whom_name": whom_name,
        }
        for finding, (who_name, whom_name) in zip(known, called, strict=True)
    ]


def _names(
    ends: Sequence[tuple[str, str | None]], names: pl.DataFrame
) -> list[tuple[str | None, str | None]]:
    """What the inventory calls who and whom: an address, or an interface by its id."""
    if names.is_empty():
        return [(None, None)] * len(ends)
    frame = pl.DataFrame(ends, schema={"who": pl.String, "whom": pl.String}, orient="row")
    shown = named(frame.with_columns(interface_id="who"), names)
    return shown.select(pl.coalesce("who_name", "interface_name"), "whom_name").rows()


def _of(places: Mapping[str, set[tuple[str, str]]], finding: Finding) -> set[tuple[str, str]]:
    """Where a finding's records are: both ends must have been there, if both are known."""
    known = [places[end] for end in (finding["who"], finding["whom"]) if end in places]
    return set.intersection(*known) or set.union(*known) if known else set()


def evidence(finding: Finding, lake: str) -> str:
    """The command that shows a finding's records."""
    statement = f"SELECT * FROM flows WHERE {finding['condition']} ORDER BY start_time"
    until = finding["last_seen"] + timedelta(seconds=1)
    plain = not set(statement) & set('"$`\\!')
    told = f'"{statement}"' if plain else shlex.quote(statement)
    return (
        f"flowlake sql {told} --lake {shlex.quote(lake)} "
        f"--since {finding['first_seen']:%FT%TZ} --until {until:%FT%TZ}"
    )


def records_of(lake: Lake, finding: Finding, top: int) -> pl.DataFrame:
    """The first of a finding's records, the columns that any of them has a value in."""
    until = finding["last_seen"] + timedelta(seconds=1)
    statement = f"SELECT * FROM flows WHERE {finding['condition']} ORDER BY start_time LIMIT {top}"
    found = lake.sql(statement, since=finding["first_seen"], until=until)
    records: pl.DataFrame = found.pl()
    return records[[each.name for each in records if each.null_count() < records.height]]


def as_told(finding: Finding, lake: str, state: str = "new") -> dict[str, Any]:
    """A finding as it is delivered and printed: its counts as a mapping, with its evidence."""
    inner = ("deliveries", "revision", "subject", "found_at", "updated_at")
    shown = {name: value for name, value in finding.items() if name not in inner}
    return {
        **shown,
        "state": state,
        "counts": json.loads(finding["counts"] or "{}"),
        "lake": lake,
        "evidence": evidence(finding, lake),
    }


def _deliver(
    tables: Tables, rules: Rules, claimed: Sequence[tuple[Finding, str]], done: AlarmRun
) -> None:
    """Send what this process has claimed, and record what came of it."""
    outcomes: dict[tuple[str, str], str | None] = {}
    try:
        for finding, name in claimed:
            try:
                deliver(as_told(finding, tables.url), rules.deliveries[name], tables.access)
                outcomes[finding["id"], name] = None
                done.sent += 1
            except FlowLakeError as error:
                outcomes[finding["id"], name] = str(error)
                done.failed.append((finding["id"], name, str(error)))
    finally:
        _record(tables, outcomes)


def _record(tables: Tables, outcomes: Mapping[tuple[str, str], str | None]) -> None:
    while outcomes:
        seen, now = see(tables), datetime.now(UTC)
        changed: dict[str, Finding] = {}
        for (key, name), error in outcomes.items():
            finding = changed.get(key, seen.findings[key])
            changed[key] = with_delivery(finding, name, "due" if error else "sent", now, error)
        try:
            commit(tables, seen, changed.values())
            return
        except CommitConflict:
            continue
