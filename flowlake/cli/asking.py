"""Commands that ask a lake: saved queries, SQL of your own, hunting, a file for other tools."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowlake.cli.completing import one_of, parameter_value, query_name
from flowlake.cli.options import (
    AccountOption,
    AsnOption,
    AwsRangesOption,
    FormatOption,
    LakeOption,
    NamesOption,
    OutputOption,
    PayerOption,
    ProfileOption,
    RegionOption,
    SinceOption,
    UntilOption,
    chosen_format,
    note,
    opened_lake,
    say,
    with_names,
    write,
)
from flowlake.errors import UsageError

if TYPE_CHECKING:
    import duckdb

    from flowlake.indicators import Indicator
    from flowlake.lake import Lake
    from flowlake.query_file import Query


QueryArgument = Annotated[
    str,
    typer.Argument(
        help="A saved query; `flowlake queries` lists them.",
        autocompletion=query_name,
    ),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="Set one of its parameters.",
        autocompletion=parameter_value,
    ),
]
QueriesOption = Annotated[
    Path | None,
    typer.Option(
        "--queries",
        envvar="FLOWLAKE_QUERIES",
        metavar="DIR",
        help="A folder with saved queries of your own, beside FlowLake's.",
    ),
]
InternalOption = Annotated[
    str | None,
    typer.Option(
        envvar="FLOWLAKE_INTERNAL",
        metavar="CIDR,…",
        help="Networks of your own that count as private, for queries that ask.",
    ),
]

ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain", help="Show what reads which files, and DuckDB's plan, not the answer."
    ),
]


def queries(
    own_queries: QueriesOption = None,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """List the saved queries and their parameters.

    csv, json and parquet have each parameter's type, default, an example and what it means.

    Examples:
        flowlake queries
        flowlake queries --format json
    """
    import polars as pl

    from flowlake.queries import load_queries

    chosen = chosen_format(style)
    loaded = load_queries(own_queries)
    if chosen == "table":
        rows = [
            {
                "name": query.name,
                "title": query.title,
                "parameters": ", ".join(param.name for param in query.params),
            }
            for query in loaded
        ]
    else:
        rows = [query.listing() for query in loaded]
    write(pl.DataFrame(rows), chosen, output)


def query(
    name: QueryArgument,
    parameter: ParameterOption = None,
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    internal: InternalOption = None,
    own_queries: QueriesOption = None,
    only_sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL with its values, instead of the answer.")
    ] = False,
    explain: ExplainOption = False,
    names: NamesOption = False,
    asn: AsnOption = None,
    aws_ranges: AwsRangesOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Answer a saved query over a window of the lake.

    Examples:
        flowlake query top_talkers --since 24h
        flowlake query rejected_flows -p top=50 --account 123456789012
        flowlake query top_interfaces --since 7d --names
        flowlake query top_talkers --format csv --output talkers.csv
        flowlake query top_talkers --sql
    """
    from flowlake.doors import collect
    from flowlake.queries import bind, literal_sql, load_query

    chosen = chosen_format(style)
    asked = load_query(name, own_queries)
    wanted: Any = {"since": since, "until": until, "account": account, "region": region}
    parameters = given_parameters(asked, parameter, internal, wanted)
    if only_sql:
        say(literal_sql(asked, parameters).strip() + ";")
        return
    opened = opened_lake(lake, profile, request_payer, asn, aws_ranges)
    relation = opened.query(name, queries=own_queries, **wanted, **parameters)
    if explain:
        say(literal_sql(asked, parameters).strip() + "\n")
        _explain(opened, wanted, relation)
        return
    answer = collect(relation)
    if names:
        answer = with_names(answer, opened, until)
    write(answer, chosen, output)
    if not answer.is_empty():
        return
    needs = list(asked.needs)
    if bind(asked, parameters).get("count") == "egress" and "flow_direction" not in needs:
        needs.append("flow_direction")
    if missing := opened.absent(needs, **wanted):
        note(f"No record of this window has {', '.join(missing)}, which {name} needs.")


def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT; `-` reads it from standard input.")],
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    explain: ExplainOption = False,
    names: NamesOption = False,
    asn: AsnOption = None,
    aws_ranges: AwsRangesOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Run one SELECT of your own, in DuckDB's SQL.

    From flows, transit_gateway_flows, objects, rejects, inventory and small tables such as
    protocols; it can read nothing else and change nothing.

    Examples:
        flowlake sql "SELECT count(*) FROM flows WHERE dstport = 22" --since 24h
        flowlake sql "SELECT reason, count(*) FROM rejects GROUP BY ALL"
        flowlake sql - --format parquet -o answer.parquet < question.sql
    """
    from flowlake.doors import collect

    chosen = chosen_format(style)
    opened = opened_lake(lake, profile, request_payer, asn, aws_ranges)
    text = sys.stdin.read() if statement == "-" else statement
    wanted: Any = {"since": since, "until": until, "account": account, "region": region}
    relation = opened.sql(text, **wanted)
    if explain:
        _explain(opened, wanted, relation)
        return
    answer = collect(relation)
    write(with_names(answer, opened, until) if names else answer, chosen, output)


def hunt(
    indicators: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ADDRESS|CIDR|eni-…|i-…", help="What to hunt; several are hunted at once."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A list of them: one a line, or a CSV's first column."),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Sum up by peer, port, protocol and verdict.")
    ] = False,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="ACCEPT|REJECT",
            help="Only this verdict.",
            autocompletion=one_of("ACCEPT", "REJECT"),
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many rows to keep; 0 keeps all.")
    ] = 1000,
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    explain: ExplainOption = False,
    names: NamesOption = False,
    enrich: Annotated[
        bool, typer.Option("--enrich", help="Add what the peer is: country, ASN, AWS service.")
    ] = False,
    asn: AsnOption = None,
    aws_ranges: AwsRangesOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Find every flow of addresses, networks, interfaces or instances.

    Newest first, both directions, at the interface and in the packet. Exit code 0 also when nothing
    is found.

    Examples:
        flowlake hunt 203.0.113.5 --since 7d
        flowlake hunt 198.51.100.0/24 eni-0123456789abcdef0 --summary
        flowlake hunt --file bad-addresses.txt --enrich --format csv
    """
    from flowlake.doors import collect
    from flowlake.indicators import parse_indicator, read_indicators

    chosen = chosen_format(style)
    wanted = [parse_indicator(text) for text in indicators or []]
    wanted += read_indicators(file) if file else []
    window: Any = {"since": since, "until": until, "account": account, "region": region}
    opened = opened_lake(lake, profile, request_payer, asn, aws_ranges)
    relation = opened.hunt(*wanted, **window, action=action, summary=summary, top=top or None)
    if explain:
        _explain(opened, window, relation, *wanted)
        return
    found = collect(relation)
    if enrich:
        from flowlake.enrichment import enriched, enrichment

        peers = ["peer"] if summary else ["srcaddr", "dstaddr"]
        found = enriched(found, peers, enrichment(asn, aws_ranges))
    if names:
        found = with_names(found, opened, until)
    write(found, chosen, output)
    if found.is_empty():
        note("Nothing found: no record of this window has any of them.")
    elif top and found.height == top:
        note(f"Only the first {top:,} rows: --top 0 keeps all, --summary sums them up.")


def connect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The DuckDB database to write.")],
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    own_queries: QueriesOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Write a DuckDB file that opens the lake in other programs.

    In the duckdb shell, DBeaver or a BI tool. It has views of the lake's files and a macro for each
    saved query, no copy of the records.

    Examples:
        flowlake connect lake.duckdb
        flowlake connect january.duckdb --since 2026-01-01 --until 2026-02-01
    """
    from flowlake.connecting import write_database
    from flowlake.queries import load_queries

    write_database(
        opened_lake(lake, profile, request_payer),
        file,
        since=since,
        until=until,
        account=account,
        region=region,
        queries=load_queries(own_queries),
    )
    say(f"Wrote {file}: duckdb -readonly {file} -c 'FROM top_talkers()'")


def _explain(
    opened: "Lake",
    wanted: dict[str, Any],
    relation: "duckdb.DuckDBPyRelation",
    *hunted: "Indicator",
) -> None:
    read, there = len(opened.files(**wanted)), len(opened.files())
    say(f"{read:,} of {there:,} files can hold the window.")
    say(f"Read by {opened.door(*hunted)}.\n")
    say(relation.explain())


def given_parameters(
    asked: "Query", pairs: list[str] | None, internal: str | None, wanted: Mapping[str, object]
) -> dict[str, Any]:
    """What ``-p`` and ``--internal`` set of a query's parameters; the window is not set so."""
    parameters = {**_internal(asked, internal), **_pairs(pairs or [])}
    if taken := wanted.keys() & parameters.keys():
        raise UsageError(f"The window is not set by -p: write --{min(taken)}.")
    return parameters


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-p takes NAME=VALUE, not {text!r}.")
        pairs[name] = value
    return pairs


def _internal(asked: "Query", cidrs: str | None) -> dict[str, object]:
    """One's own networks, for a query that asks which addresses are private."""
    from flowlake.addresses import network

    own = [cidr.strip() for cidr in (cidrs or "").split(",") if cidr.strip()]
    for cidr in own:
        network(cidr)
    asks = any(param.name == "internal" for param in asked.params)
    return {"internal": own} if own and asks else {}
