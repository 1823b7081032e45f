"""Commands that tell: `flowlake alarms run`, and what goes with it."""

import getpass
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowlake.cli.completing import ALARM_KINDS, FORMATS, finding_id, one_of
from flowlake.cli.options import (
    FormatOption,
    LakeOption,
    OutputOption,
    PayerOption,
    ProfileOption,
    SinceOption,
    UntilOption,
    access,
    chosen_format,
    complain,
    note,
    opened_lake,
    say,
    write,
)
from flowlake.errors import UsageError

if TYPE_CHECKING:
    from flowlake.alarms import AlarmRun
    from flowlake.storage import Access

app = typer.Typer(
    name="alarms",
    help="Be told of scans, of watched ports, of forbidden endpoints.",
    epilog="Exit codes of run: 0 nothing found; 3 something was found; 1 a delivery failed and is "
    "made again by the next run; 2 wrong usage.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FOUND = 3
"""The exit code where something was found."""

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        "-c",
        envvar="FLOWLAKE_ALARMS",
        metavar="FILE",
        help="The rules: a file or s3://…",
    ),
]
FindingFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join((*FORMATS, "ocsf")),
        help="How to write findings.",
        autocompletion=one_of(*FORMATS, "ocsf"),
    ),
]


@app.command()
def run(
    config: ConfigOption = "alarms.toml",
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FindingFormat = "table",
    output: OutputOption = None,
) -> None:
    """Evaluate what is new in the lake, and deliver what is found.

    New are the records converted since each alarm last looked; the first time, all of them. With
    --since or --until it is the records of that time instead. An incident is told once, however
    many runs see it.

    Exit codes: 0 nothing found; 3 something was found; 1 a delivery failed and is made again by the
    next run; 2 wrong usage.

    Examples:
        flowlake alarms run
        flowlake alarms run -c s3://my-lake/alarms.toml --lake s3://my-lake/flows
        flowlake alarms run --since 2026-01-14 --until 2026-01-15 --format json
    """
    checked = _checked(style)
    done = _ran(config, lake, profile, request_payer, since=since, until=until)
    found = [{**each, "state": "new"} for each in done.new]
    found += [{**each, "state": "grown"} for each in done.grown]
    _write(found, lake, checked, output)
    _sum_up(done)
    raise typer.Exit(FOUND if done.new or done.grown else 1 if done.failed else 0)


def check(config: str, reach: "Access") -> None:
    """Check the rules, before work that takes long."""
    from flowlake.rules import read_rules

    read_rules(config, reach)


def told(config: str, lake: str, profile: str | None, request_payer: bool) -> bool:
    """Run the alarms after something else; whether anything was found."""
    done = _ran(config, lake, profile, request_payer)
    for finding in (*done.new, *done.grown):
        complain(f"{finding['severity']}: {finding['alarm']}: {finding['why']} ({finding['id']})")
    _sum_up(done)
    return bool(done.new or done.grown)


def _ran(
    config: str,
    lake: str,
    profile: str | None,
    request_payer: bool,
    *,
    since: str | None = None,
    until: str | None = None,
) -> "AlarmRun":
    from flowlake.alarms import run_alarms
    from flowlake.progress import steps

    reach = access(profile, request_payer)
    with steps("evaluating") as tell:
        return run_alarms(lake, config, reach, since=since, until=until, progress=tell)


def _sum_up(done: "AlarmRun") -> None:
    from flowlake.rendering import some

    for finding, name, reason in done.failed:
        complain(f"finding {finding} was not delivered to {name}: {reason}")
    note(
        f"{some(len(done.new), 'new finding')}, {len(done.grown):,} that grew; "
        f"{some(done.sent, 'message')} delivered"
        + (f", {len(done.failed):,} to be sent again by the next run." if done.failed else ".")
    )


@app.command("list")
def list_kinds(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="Only this kind, with its source.", autocompletion=one_of(*ALARM_KINDS)
        ),
    ] = None,
    style: FormatOption = "table",
) -> None:
    """List the kinds of alarms and deliveries, and their parameters.

    Examples:
        flowlake alarms list
        flowlake alarms list port_scan
    """
    import polars as pl

    from flowlake.delivering import SETTINGS
    from flowlake.detections import DETECTIONS
    from flowlake.rules import spelled

    chosen = chosen_format(style)
    kinds = [each for each in DETECTIONS if kind in (None, each.kind)]
    if not kinds:
        names = ", ".join(each.kind for each in DETECTIONS)
        raise UsageError(f"There is no kind {kind!r}: there are {names}.")
    rows = [
        {
            "kind": each.kind,
            "parameter": parameter.name,
            "default": "needed" if parameter.required else spelled(parameter.default),
            "meaning": parameter.meaning,
        }
        for each in kinds
        for parameter in each.parameters
    ]
    if kind is not None:
        if chosen == "table":
            found = kinds[0]
            say(f"{found.title} (severity {found.severity}). {found.about}\n")
            say(f"Source: {found.source}\n")
    else:
        rows += [
            {
                "kind": f"delivery: {name}",
                "parameter": setting.name,
                "default": "needed" if setting.required else ", ".join(setting.choices[:1]),
                "meaning": setting.meaning,
            }
            for name, settings in SETTINGS.items()
            for setting in settings
        ]
    write(pl.DataFrame(rows), chosen)


@app.command()
def test(
    config: ConfigOption = "alarms.toml",
    deliver: Annotated[
        bool, typer.Option("--deliver/--no-deliver", help="Send a sample to each delivery.")
    ] = True,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Check the rules, and deliver a sample finding.

    It goes wherever the rules send findings. Exits 1 if it is not taken somewhere.

    Examples:
        flowlake alarms test
        flowlake alarms test --config alarms.toml --no-deliver
    """
    from flowlake import delivering
    from flowlake.errors import FlowLakeError
    from flowlake.rendering import some
    from flowlake.rules import read_rules

    reach = access(profile, request_payer)
    rules = read_rules(config, reach)
    failed = 0
    for to in rules.deliveries.values() if deliver else ():
        try:
            delivering.deliver(_sample(), to, reach)
            note(f"delivered a sample to {to.name} ({to.kind})")
        except FlowLakeError as error:
            complain(str(error))
            failed += 1
    note(f"{config}: {some(len(rules.alarms), 'alarm')}, {len(rules.deliveries):,} deliveries.")
    raise typer.Exit(1 if failed else 0)


@app.command()
def findings(
    lake: LakeOption = "lake",
    only_open: Annotated[
        bool, typer.Option("--open", help="Leave out what is acknowledged.")
    ] = False,
    since: SinceOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FindingFormat = "table",
    output: OutputOption = None,
) -> None:
    """List what the alarms have found, newest first.

    Examples:
        flowlake alarms findings --open
        flowlake alarms findings --since 7d --format ocsf
    """
    import polars as pl

    from flowlake.window import parse_time

    checked = _checked(style)
    found = opened_lake(lake, profile, request_payer).findings()
    found = found.filter(pl.col("state").is_in(["open"] if only_open else ["open", "acknowledged"]))
    if since is not None:
        found = found.filter(pl.col("last_seen") >= parse_time(since, datetime.now(UTC)))
    _write(found.to_dicts(), lake, checked, output)


@app.command()
def show(
    finding: Annotated[
        str, typer.Argument(metavar="ID", help="A finding's id.", autocompletion=finding_id)
    ],
    lake: LakeOption = "lake",
    records: Annotated[int, typer.Option(min=0, metavar="N", help="So many of its records.")] = 20,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FindingFormat = "table",
) -> None:
    """Show a finding, and the records that are its evidence.

    Examples:
        flowlake alarms show 53b7f0c1a2d4e689
        flowlake alarms show 53b7f0c1a2d4e689 --records 100
    """
    from flowlake.alarms import as_told, records_of
    from flowlake.wording import message

    checked = _checked(style)
    opened = opened_lake(lake, profile, request_payer)
    found = {row["id"]: row for row in opened.findings().to_dicts()}
    if finding not in found:
        raise UsageError(f"There is no finding {finding}: `flowlake alarms findings` lists them.")
    row = found[finding]
    if checked != "table":
        _write([row], lake, checked, None)
        return
    say(message(as_told(row, lake, row["state"])))
    if records:
        write(records_of(opened, row, records), chosen_format("table"))


@app.command()
def acknowledge(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID", help="Findings' ids.", autocompletion=finding_id)
    ],
    lake: LakeOption = "lake",
    note_: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="What is known of it.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so.")] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Mark findings as known, so that they are not open any more.

    They stay, and are updated.

    Examples:
        flowlake alarms acknowledge 53b7f0c1a2d4e689 --note "our own scanner"
    """
    from flowlake.findings import acknowledge as mark
    from flowlake.rendering import some

    opened = opened_lake(lake, profile, request_payer)
    mark(opened.tables, ids, by or getpass.getuser(), note_)
    note(f"{some(len(ids), 'finding')} acknowledged.")


PARTS = ("scores", "thresholds", "days", "incidents", "missed")


@app.command()
def backtest(
    config: ConfigOption = "alarms.toml",
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known attacks, CSV, for precision and recall."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PARTS),
            help="Only this; csv, json and parquet need one.",
            autocompletion=one_of(*PARTS),
        ),
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Replay the rules over the lake; nothing is sent or kept.

    It shows incidents a day, and what other thresholds would have cost.

    Examples:
        flowlake alarms backtest --since 2026-01-01
        flowlake alarms backtest --part thresholds --format csv
        flowlake alarms backtest --labels attacked-labels.csv --part scores
    """
    from flowlake import backtesting
    from flowlake.progress import steps
    from flowlake.rules import read_rules

    chosen = chosen_format(style)
    if part not in (None, *PARTS):
        raise UsageError(f"--part is one of {', '.join(PARTS)}, not {part!r}.")
    if part is None and style != "table":
        raise UsageError(f"--format {style} has one table: choose it with --part.")
    opened = opened_lake(lake, profile, request_payer)
    rules = read_rules(config, access(profile, request_payer))
    known = backtesting.read_labels(labels) if labels else None
    with steps("replaying") as tell:
        found = backtesting.backtest(
            opened, rules, since=since, until=until, labels=known, progress=tell
        )
    for name in (part,) if part else ("scores", "thresholds"):
        if part is None:
            say(f"{name}:")
        write(getattr(found, name), chosen, output)


def _checked(style: str) -> str:
    if style != "ocsf":
        chosen_format(style)
    return style


SHOWN = ("id", "severity", "alarm", "who", "whom", "first_seen", "last_seen", "flows", "why")


def _write(found: Sequence[Any], lake: str, style: str, output: Path | None) -> None:
    import polars as pl

    from flowlake.alarms import as_told
    from flowlake.findings import FINDINGS
    from flowlake.rendering import write_json

    if style in ("json", "ocsf"):
        told: Iterable[Any] = [as_told(each, lake, each["state"]) for each in found]
        if style == "ocsf":
            from importlib.metadata import version

            from flowlake.ocsf import detection_finding

            told = [detection_finding(each, version=version("flowlake")) for each in told]
        write_json(list(told), output)
        return
    frame = pl.DataFrame(found, schema=pl.Schema(FINDINGS))
    if style == "table":
        if frame.height:
            write(frame.select(SHOWN), chosen_format(style), output)
        return
    write(frame.drop("subject", "revision"), chosen_format(style), output)


def _sample() -> dict[str, Any]:
    """A finding that says it is a test."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "id": f"{int(now.timestamp()):016x}",
        "alarm": "test",
        "kind": "port_scan",
        "severity": "low",
        "state": "test",
        "account_ids": ["123456789012"],
        "regions": ["eu-west-1"],
        "who": "192.0.2.1",
        "whom": "10.0.0.1",
        "who_name": None,
        "whom_name": "test",
        "first_seen": now - timedelta(minutes=5),
        "last_seen": now,
        "flows": 1,
        "packets": 1,
        "bytes": 40,
        "peak": 1.0,
        "counts": {},
        "why": "This is a test of a delivery: nothing was found.",
        "condition": "false",
        "lake": "lake",
        "evidence": "flowlake alarms findings",
    }
