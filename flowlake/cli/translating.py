"""Commands for other engines: a saved query in their SQL, the lake's tables in their catalogues.

Both only print: they open no lake and reach no engine.
"""

from typing import Annotated, Any

import typer

from flowlake.cli.asking import (
    InternalOption,
    ParameterOption,
    QueriesOption,
    QueryArgument,
    given_parameters,
)
from flowlake.cli.completing import ENGINES, one_of
from flowlake.cli.options import (
    AccountOption,
    LakeOption,
    RegionOption,
    SinceOption,
    UntilOption,
    say,
)


def translate(
    name: QueryArgument,
    to: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES), help="The engine to ask.", autocompletion=one_of(*ENGINES)
        ),
    ],
    table: Annotated[
        str,
        typer.Option(
            metavar="TABLE", help="Its name there for the lake's flows: catalog.schema.flows."
        ),
    ] = "flows",
    parameter: ParameterOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    internal: InternalOption = None,
    own_queries: QueriesOption = None,
) -> None:
    """Print a saved query in the SQL of Spark, Trino or Athena.

    It is one SELECT, with its values and all else it needs in it, from the table that `flowlake
    ddl` registers. The answer has the rows and the order of `flowlake query`.

    Examples:
        flowlake translate top_talkers --to athena --since 24h
        flowlake translate rejected_flows --to trino --table delta.lake.flows
    """
    from flowlake import translating
    from flowlake.queries import load_query

    asked = load_query(name, own_queries)
    wanted: Any = {"since": since, "until": until, "account": account, "region": region}
    fixed: Any = {**wanted, "to": to, "table": table, "queries": own_queries}
    parameters = given_parameters(asked, parameter, internal, wanted)
    say(translating.translate(name, parameters=parameters, **fixed) + ";")


def ddl(
    to: Annotated[
        str,
        typer.Argument(
            metavar="|".join(ENGINES), help="The engine.", autocompletion=one_of(*ENGINES)
        ),
    ],
    lake: LakeOption = "lake",
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEMA",
            help="The database for the tables [default: flowlake; for Trino delta.flowlake].",
        ),
    ] = None,
) -> None:
    """Print what registers the lake with Spark, Trino or Athena.

    Statements for its Delta tables: flows, objects and rejects. What is converted later is there
    without a further statement.

    Examples:
        flowlake ddl athena --lake s3://my-lake/flows
        flowlake ddl trino --schema delta.security
    """
    from flowlake import registering

    say(registering.ddl(to, lake, schema).rstrip())
