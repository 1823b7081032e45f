"""Every question that a report asks, and what came of it: an answer, or why there is none."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from flowlake.catalog import questions
from flowlake.doors import collect, refused
from flowlake.errors import FlowLakeError
from flowlake.interfaces import named
from flowlake.lake import Lake
from flowlake.queries import bind, load_queries, run
from flowlake.query_file import Drawing, Query
from flowlake.window import Window

if TYPE_CHECKING:
    import duckdb

CHAPTERS = {
    "traffic": "Traffic",
    "talkers": "Who talks",
    "refusals": "What was refused",
    "reach": "What reaches out and in",
    "cost": "What it costs",
    "quality": "Data quality",
}
"""The rooms of `flowlake.analyses`, as the chapters of a report."""

OWN = "Your own questions"

FIRST = (
    *("traffic_over_time", "protocol_breakdown", "top_talkers", "top_conversations", "top_ports"),
    *("rejected_sources", "rejected_ports", "egress_destinations", "public_inbound"),
    *("transfer_cost", "data_quality", "coverage_gaps"),
)
"""What a reader looks for first in its chapter; what is not named follows by its name."""

WIDTHS = (10, 15, 30, 60, 120, 180, 360, 720, 1440, 10080)
"""Minutes that a stretch of time may have in a chart over time."""

STRETCHES = 200
"""The most stretches that a chart over time should have."""

EGRESS = "flow_direction"
"""The column that says what is egress."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report: rows, or the reason why there are none."""

    name: str
    title: str
    description: str
    chapter: str
    drawing: Drawing
    command: Sequence[str]
    """What gives the same rows in a terminal."""
    rows: pl.DataFrame | None = None
    reason: str | None = None
    failed: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def reported(folder: str | os.PathLike[str] | None = None) -> list[tuple[str, Query]]:
    """The questions that opted in, each with its chapter, in the order of a report."""
    rooms = {each.name: each.twin.__module__.rpartition(".")[2] for each in questions()}
    chapters = [*CHAPTERS.values(), OWN]
    found = [
        (CHAPTERS[rooms[query.name]] if query.name in rooms else OWN, query)
        for query in load_queries(folder)
        if query.report is not None
    ]
    place = {name: number for number, name in enumerate(FIRST)}
    return sorted(
        found,
        key=lambda each: (
            chapters.index(each[0]),
            place.get(each[1].name, len(FIRST)),
            each[1].name,
        ),
    )


def ask(
    lake: Lake,
    wanted: Window,
    *,
    internal: Sequence[str] = (),
    names: bool = False,
    queries: str | os.PathLike[str] | None = None,
    tell: Tell = lambda *_: None,
) -> list[Section]:
    """Ask all of them over one window, which is opened once; the errors of one stay its own.

    Raises:
        LakeError: for a lake that cannot be read at all, and for names without an inventory.
    """
    asked = reported(queries)
    known = lake.inventory(wanted.until) if names else None
    if known is not None:
        named(pl.DataFrame(), known)  # one error instead of one in every section
    within = arguments(wanted)
    connection = lake.connect(**within, sql="\n".join(query.sql for _, query in asked))
    needs = sorted({EGRESS, *(need for _, query in asked for need in query.needs)})
    absent = _absent(connection, needs)
    opened = _Opened(lake, within, connection, absent, known, queries)
    minutes = _minutes(connection)
    sections = []
    for number, (chapter, query) in enumerate(asked, 1):
        tell(query.name, number, len(asked))
        parameters: dict[str, Any] = {}
        params = {param.name for param in query.params}
        assert query.report is not None
        if query.report.over_time and "minutes" in params:
            parameters["minutes"] = minutes
        if internal and "internal" in params:
            parameters["internal"] = list(internal)
        section = Section(
            *(query.name, query.title, query.description, chapter, query.report),
            command=command(
                lake,
                wanted,
                "query",
                query.name,
                *(["-p", f"minutes={minutes}"] if "minutes" in parameters else []),
                *(["--internal", ",".join(internal)] if "internal" in parameters else []),
                *(["--queries", os.fspath(queries)] if chapter == OWN and queries else []),
                *(["--names"] if names else []),
            ),
            parameters=bind(query, parameters),
        )
        sections.append(opened.asked(section, query))
    return sections


@dataclass(frozen=True, slots=True)
class _Opened:
    """The window of a lake, opened once for all questions that look at nothing else."""

    lake: Lake
    within: Mapping[str, Any]
    connection: "duckdb.DuckDBPyConnection"
    absent: frozenset[str]
    known: pl.DataFrame | None
    queries: str | os.PathLike[str] | None

    def asked(self, section: Section, query: Query) -> Section:
        """The section with its rows, or with the reason why it has none."""
        import duckdb

        if missing := [name for name in query.needs if name in self.absent]:
            return replace(
                section,
                reason=f"No record of this window has {', '.join(missing)}, which this question "
                "needs: add it to the format of the flow log.",
            )
        if query.history is not None and self.within["since"] is None:
            return replace(
                section,
                reason="This question compares the window with the days before it: make the "
                "report with --since.",
            )
        try:
            if query.history is None:
                answer = run(self.connection, query, section.parameters)
            else:
                answer = self.lake.query(
                    query.name, queries=self.queries, **self.within, **section.parameters
                )
            if told := _unlike_its_header(query, answer):
                return replace(section, reason=told, failed=True)
            rows = collect(answer)
            if (
                rows.is_empty()
                and section.parameters.get("count") == "egress"
                and EGRESS in self.absent
            ):
                reason = f"No rows: no record of this window has {EGRESS}, so none is egress."
                return replace(section, rows=rows, reason=reason)
            return replace(section, rows=rows if self.known is None else named(rows, self.known))
        except FlowLakeError as error:
            return replace(section, reason=str(error), failed=True)
        except duckdb.Error as error:
            return replace(section, reason=str(refused(error)), failed=True)


def _unlike_its_header(query: Query, answer: "duckdb.DuckDBPyRelation") -> str | None:
    """What is wrong with an answer whose columns are not those that the header returns."""
    given = list(zip(answer.columns, map(str, answer.types), strict=True))
    if given == [(column.name, column.type) for column in query.returns]:
        return None
    spelled = ", ".join(f"{name} {kind}" for name, kind in given)
    return f"{query.path}: 'returns' is not what the SQL gives: {spelled}."


def arguments(wanted: Window) -> dict[str, Any]:
    """A window as `Lake`'s methods take it."""
    return {
        "since": wanted.since,
        "until": wanted.until,
        "account": wanted.accounts,
        "region": wanted.regions,
    }


def command(lake: Lake, wanted: Window | None, *words: str) -> list[str]:
    """The command of these words for this lake and window."""
    access = lake.tables.access
    options = [*words, "--lake", lake.url]
    if wanted is not None:
        for name, time in (("--since", wanted.since), ("--until", wanted.until)):
            options += [name, spelt(time)] if time is not None else []
        options += [word for account in wanted.accounts for word in ("--account", account)]
        options += [word for region in wanted.regions for word in ("--region", region)]
    options += ["--profile", access.profile] if access.profile else []
    options += ["--request-payer"] if access.request_payer else []
    return ["flowlake", *options]


def spelt(time: datetime) -> str:
    """A moment as the command line takes it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _minutes(connection: "duckdb.DuckDBPyConnection") -> int:
    """The least width of which few enough stretches hold a record."""
    counts = ", ".join(f"count(DISTINCT minute // {width})" for width in WIDTHS)
    ((*found,),) = connection.execute(
        f"SELECT {counts} FROM (SELECT DISTINCT epoch_us(start_time) // 60000000 AS minute "
        "FROM flows)"
    ).fetchall()
    fitting = [w for w, n in zip(WIDTHS, found, strict=True) if n <= STRETCHES]
    return fitting[0] if fitting else WIDTHS[-1]


def _absent(connection: "duckdb.DuckDBPyConnection", columns: Sequence[str]) -> frozenset[str]:
    """Which of these columns no record of the window has a value in."""
    counts = ", ".join(f"count({name})" for name in columns)
    ((*found,),) = connection.execute(f"SELECT {counts} FROM flows").fetchall()
    return frozenset(name for name, count in zip(columns, found, strict=True) if not count)
