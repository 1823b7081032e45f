"""Saved queries in other engines: Spark, on a lake's own files, says what DuckDB says."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import contextlib
import gzip
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlglot import exp, parse, parse_one

import flowlake
from flowlake.cli import completing
from flowlake.engines import ENGINES
from flowlake.errors import UsageError
from flowlake.fields import BY_COLUMN, FIELDS
from flowlake.files import file_urls
from flowlake.layout import object_key
from flowlake.queries import load_query, query_names
from flowlake.registering import ddl
from flowlake.translating import translate
from tests.answers.data import data_sets, history
from tests.test_parity import MOVED

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
COLUMNS = [field.column for field in FIELDS if "vpc" in field.sources]
HEADER = " ".join(BY_COLUMN[column].name for column in COLUMNS)

ODD = (
    *("0.0.0.0", "255.255.255.255", "100.128.0.0", "10.0.0.01", "256.1.1.1", "1.2.3"),
    *("::", "::1", "1::", "::ffff:1.2.3.4", "::ffff:a00:1", "64:ff9b::1", "FD00::A", "fe80::1"),
    *("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "1:2:3:4:5:6:7"),
    *("1:2:3:4:5:6:7:8:9", "1::2::3", "12345::1", "fe80::1%eth0", "febf:ffff::1", "fec0::1"),
)
"""Texts that are addresses, and some that only look so."""

GATEWAY = """\
version resource-type account-id tgw-id srcaddr dstaddr packets bytes start end log-status
6 TransitGateway 012345678901 tgw-1 10.0.0.5 10.1.0.9 10 9999999999 1768480000 1768480060 OK
"""

OWN = {
    "returns: srcaddr VARCHAR, private BOOLEAN, public BOOLEAN, other BOOLEAN, low BOOLEAN": """
    WITH ends AS (SELECT DISTINCT srcaddr FROM flows)
    SELECT srcaddr, is_private(srcaddr, ['::/0']) AS private, is_public(srcaddr, []) AS public,
        in_networks(srcaddr, []) AS other, in_networks(srcaddr, ['::/8', '0.0.0.0/1']) AS low
    FROM ends ORDER BY address_number(srcaddr), srcaddr""",
    "returns: dstport INTEGER, protocol INTEGER, total BIGINT": """
    SELECT dstport, protocol, sum(bytes)::BIGINT AS total
    FROM flows WHERE dstport IS NOT NULL AND protocol IS NOT NULL
    GROUP BY dstport, protocol
    QUALIFY row_number() OVER (PARTITION BY dstport ORDER BY sum(bytes) DESC, protocol) <= 2
    ORDER BY flows.dstport DESC, total LIMIT 7""",
    "returns: hour TIMESTAMPTZ, verdict VARCHAR, place VARCHAR, mean DOUBLE, most BIGINT": """
    SELECT date_trunc('hour', start_time) AS hour, lower(action) AS verdict,
        concat(action, ' in ', region) AS place, avg(bytes) AS mean,
        max(greatest(packets, NULL, 500)) AS most
    FROM flows WHERE srcport = 443 AND start_time IS NOT NULL GROUP BY ALL ORDER BY ALL""",
    "returns: flows BIGINT, gateway BIGINT": """
    SELECT count(*) AS flows, (SELECT count(*) FROM transit_gateway_flows) AS gateway FROM flows""",
}
"""Queries of one's own, by what they return."""


def text_of(record: dict[str, Any]) -> str:
    """A record as a line of all the fields of VPC flow logs."""
    values = (record[column] for column in COLUMNS)
    return " ".join(
        f"{each.timestamp():.0f}"
        if isinstance(each, datetime)
        else "-"
        if each is None
        else f"{each}"
        for each in values
    )


def put(folder: Path, flow_log: str, text: str) -> None:
    """An object of a flow log, in the place of an earlier one."""
    path = folder / object_key("012345678901", "us-east-1", flow_log, NOON, "0" * 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> flowlake.Lake:
    """The ordinary day, the day before and odd addresses; a gateway's records; a replaced file."""
    folder = tmp_path_factory.mktemp("translated")
    lines: dict[str, list[str]] = {"fl-odd": []}
    for record in (*history("ordinary_day").to_pylist(), *data_sets()["ordinary_day"].to_pylist()):
        lines.setdefault(record["flow_log_id"] or "fl-0", []).append(text_of(record))
    quiet = dict.fromkeys(COLUMNS) | {"start_time": NOON, "dstaddr": "10.0.0.1", "bytes": 1}
    lines["fl-odd"] += [text_of(quiet | {"srcaddr": address}) for address in ODD]
    for log, of_log in lines.items():
        put(folder / "raw", log, "\n".join([HEADER, *of_log, ""]))
    put(folder / "raw", "fl-gateway", GATEWAY)
    put(folder / "raw", "fl-replaced", f"{HEADER}\n{text_of(quiet)}\n" * 9)
    flowlake.convert(folder / "raw", lake=folder / "lake", workers=1)
    put(folder / "raw", "fl-replaced", f"{HEADER}\n{text_of(quiet)}\n")
    flowlake.convert(folder / "raw", lake=folder / "lake", workers=1)
    return flowlake.open_lake(folder / "lake")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the queries of one's own, ``own_0`` and so on."""
    folder = tmp_path_factory.mktemp("own")
    for number, (returns, sql) in enumerate(OWN.items()):
        put_query(folder, f"own_{number}", sql, returns)
    return folder


def put_query(folder: Path, name: str, sql: str, returns: str = "returns: x VARCHAR") -> None:
    header = f"-- name: {name}\n-- title: Own\n-- description: Own.\n-- {returns}\n"
    (folder / f"{name}.sql").write_text(header + sql)


@contextlib.contextmanager
def spark_on(lake: flowlake.Lake, warehouse: Path) -> Iterator[Any]:
    """A Spark session with the live files of the lake's Delta table ``flows`` as a view."""
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer, and there is no java on the PATH")
    from pyspark.sql import SparkSession

    settings: dict[str, Any] = {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(warehouse),
    }
    session = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        session.sparkContext.setLogLevel("ERROR")
        kinds = {"String": "STRING", "Int32": "INT", "Int64": "BIGINT", "Date": "DATE"}
        schema = lake.flows().collect_schema().items()
        reader = session.read.schema(
            ", ".join(f"{n} {kinds.get(str(t), 'TIMESTAMP')}" for n, t in schema)
        )
        files = file_urls(lake.tables.table("flows"))
        root = lake.tables.table_url("flows")
        reader.option("basePath", root).parquet(*files).createOrReplaceTempView("flows")
        yield session
    finally:
        session.stop()


def calls(every: int) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Saved queries with their defaults and with other arguments, and a window if need be."""
    for name in query_names()[::every]:
        window = {"since": NOON} if load_query(name).history else {}
        for arguments in ({}, *MOVED[name][-1:]):
            yield name, arguments, window
    yield "bytes_total", {"source": ["10.0.0.0/8", "::/0"], "packet_level": True}, {}
    yield "port_access", {"ports": [443], "addresses": ["10.0.0.0/23", "fd00::/8"]}, {}
    yield "uncaptured", {"cidrs": ["10.0.0.0/16", "169.254.169.248/29"]}, {}
    yield "top_talkers", {"side": "both"}, {"since": "2026-01-14T12:00:00.5Z", "until": NOON}
    yield "top_ports", {}, {"account": ["123456789010", "unknown"], "region": "us-east-1"}


@pytest.mark.spark
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.long)])
def test_spark_says_the_same(
    every: int,
    lake: flowlake.Lake,
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    """One test for all, so that one process alone starts a session."""
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    asked = [*calls(every), *((f"own_{number}", {}, {}) for number in range(len(OWN)))]
    with spark_on(lake, tmp_path) as session:
        for name, arguments, window in asked:
            with subtests.test(name, **arguments):
                expected = lake.query(name, queries=own, **window, **arguments).pl()
                sql = translate(name, to="spark", queries=own, parameters=arguments, **window)
                found = pl.DataFrame(session.sql(sql).toArrow())
                assert_frame_equal(found, expected, check_exact=True)
        parser = session._jsparkSession.sessionState().sqlParser()
        for statement in ddl("spark", "s3://logs/lake").rstrip(";\n").split(";\n"):
            with subtests.test(statement):
                parser.parsePlan(statement)


@pytest.mark.parametrize("name", query_names())
def test_every_saved_query_is_one_select_from_the_table(name: str) -> None:
    window: Any = {"since": "2026-01-14", "until": "2026-01-15", "region": "us-east-1"}
    said = {to: translate(name, to=to, table="lake.vpc.records", **window) for to in ENGINES}
    assert said["athena"] == said["trino"].replace("for Trino.", "for Athena.")
    for to in ("spark", "trino"):
        (tree,) = parse(said[to], read=to)
        assert isinstance(tree, exp.Select)
        own = {cte.alias for cte in tree.find_all(exp.CTE)}
        tables = {table.sql() for table in tree.find_all(exp.Table) if table.name}
        assert tables - own == {"lake.vpc.records"}
        assert not list(tree.find_all(exp.Placeholder, exp.Qualify))
        assert not any(group.args.get("all") for group in tree.find_all(exp.Group))
        columns = [column.name for column in load_query(name).returns]
        assert [each.alias_or_name for each in tree.selects] == columns


def test_the_order_is_that_of_the_outer_select(own: Path) -> None:
    for to in ENGINES:
        tree = parse_one(translate("own_1", to=to, queries=own), read=ENGINES[to].dialect)
        assert [len(list(tree.find_all(each))) for each in (exp.Limit, exp.Qualify)] == [1, 0]
        assert tree.args["order"] and tree.args["limit"]


def test_the_window_also_chooses_dates() -> None:
    window: Any = {"since": "2026-01-14T22:00:00.25Z", "until": "2026-01-16", "account": "0" * 12}
    sql = " ".join(translate("top_talkers", to="trino", **window).split())
    assert (
        "FROM flows WHERE resource_type IS NULL "
        "AND start_time >= CAST('2026-01-14 22:00:01 UTC' AS TIMESTAMP WITH TIME ZONE) "
        "AND date >= CAST('2026-01-14' AS DATE) "
        "AND start_time < CAST('2026-01-16 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE) "
        "AND date <= CAST('2026-01-15' AS DATE) AND account_id IN ('000000000000') )"
    ) in sql


def test_no_moment_is_too_far() -> None:
    window: Any = {"since": "0001-01-01", "until": "9999-12-31T23:59:59.5Z"}
    sql = translate("top_talkers", to="spark", **window)
    assert "start_time >= CAST('0001-01-01 00:00:00 UTC' AS TIMESTAMP)" in sql
    assert "start_time < CAST('9999-12-31 23:59:59 UTC' AS TIMESTAMP)" in sql
    assert "date <= CAST('0001-01-01' AS DATE)" in translate(
        "top_talkers", to="spark", until="0001-01-01"
    )


@pytest.mark.parametrize("table", ["flows", "Flows", "`flows`"])
def test_the_days_before_come_from_the_table_too(table: str) -> None:
    sql = translate("coverage_gaps", to="spark", since="24h", table=table)
    names = [cte.alias for cte in parse_one(sql, read="spark").find_all(exp.CTE)]
    assert names.index("history") < names.index("flows")


def test_a_value_stays_a_value() -> None:
    sql = translate("top_talkers", to="spark", parameters={"action": "x' OR 'a' = '\\", "top": 3})
    tree = parse_one(sql, read="spark")
    assert "x' OR 'a' = '\\" in {each.name for each in tree.find_all(exp.Literal)}


def test_addresses_are_numbers_in_each_way() -> None:
    arguments = {"internal": ["198.51.100.0/24", "2001:db8::/33", "::/0"]}
    spark, trino = (
        " ".join(translate("rejected_sources", to=to, parameters=arguments).split())
        for to in ("spark", "trino")
    )
    digits = "00000000000000000000ffff"
    assert f"number BETWEEN '{digits}c6336400' AND '{digits}c63364ff'" in spark
    assert f"AND NOT number BETWEEN '{digits}00000000' AND '{digits}ffffffff'" in spark
    assert (
        "number BETWEEN CAST('198.51.100.0' AS IPADDRESS) AND CAST('198.51.100.255' AS IPADDRESS)"
    ) in trino
    assert "CAST('2001:db8::' AS IPADDRESS)" in trino
    assert "CAST('2001:db8:7fff:ffff:ffff:ffff:ffff:ffff' AS IPADDRESS)" in trino
    assert (
        "AND NOT number BETWEEN CAST('0.0.0.0' AS IPADDRESS) AND CAST('255.255.255.255' AS "
    ) in trino


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("top_talkers", {"to": "hive"}, "no engine 'hive': choose one of spark, trino, athena"),
        ("top_talker", {}, "no saved query 'top_talker'. Did you mean 'top_talkers'"),
        ("top_talkers", {"parameters": {"side": "left"}}, "side is source, destination or both"),
        ("top_talkers", {"parameters": {"count": "x"}}, "count is records, egress or the id of"),
        ("top_talkers", {"parameters": {"top": "x"}}, "top of query top_talkers takes UINTEGER"),
        ("uncaptured", {"parameters": {"cidrs": ["x"]}}, "x is not a network: write 10.0.0.0/8"),
        ("bytes_total", {"parameters": {"source": ["x"]}}, "'x' is not a network"),
        ("coverage_gaps", {}, "compares a window with the days before it: say where it begins"),
        ("top_talkers", {"table": "a b; c"}, "'a b; c' is not a table: write catalog.schema"),
        ("top_talkers", {"table": "a.b.c.d"}, "'a.b.c.d' is not a table: write catalog.schema"),
        ("top_talkers", {"table": ""}, "'' is not a table: write catalog.schema"),
        ("top_talkers", {"since": "soon"}, "'soon' is not a time"),
    ],
)
def test_what_cannot_be_is_said(name: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        translate(name, **{"to": "spark"} | options)


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("SELECT country(srcaddr) AS x FROM flows", "it calls country, which FlowLake does not"),
        ("SELECT quantile_cont(bytes, 0.5)::VARCHAR AS x FROM flows", "it calls percentile_cont"),
        ("SELECT arg_max(srcaddr, bytes) AS x FROM flows", "it calls max_by"),
        ("SELECT list(srcaddr ORDER BY srcaddr)[1] AS x FROM flows", "it calls collect_list"),
        (
            "WITH flows AS (FROM flows) SELECT srcaddr AS x FROM flows",
            "it has a table flows of its",
        ),
        (
            "SELECT is_private(srcaddr, string_split(dstaddr, ','))::VARCHAR AS x FROM flows",
            "is_private is translated only with networks that are a list of texts",
        ),
        (
            "SELECT is_private(srcaddr, [dstaddr])::VARCHAR AS x FROM flows",
            "is_private is translated only with networks that are a list of texts",
        ),
        (
            "SELECT time_bucket(INTERVAL '5 minutes', start_time)::VARCHAR AS x FROM flows",
            "it calls date_bin",
        ),
    ],
)
def test_what_an_engine_may_not_say_alike_is_refused(
    tmp_path: Path, sql: str, complaint: str
) -> None:
    put_query(tmp_path, "own", sql)
    with pytest.raises(UsageError, match=re.escape(complaint)):
        translate("own", to="spark", queries=tmp_path)


def test_the_lake_is_registered() -> None:
    spark = ddl("spark", "s3://logs/lake/", "vpc")
    assert "CREATE SCHEMA IF NOT EXISTS vpc;" in spark
    trino = ddl("trino", "s3://logs/lake")
    athena = ddl("athena", "s3://logs/lake")
    for table in ("flows", "objects", "rejects"):
        place = f"s3://logs/lake/{table}"
        created = f"CREATE TABLE IF NOT EXISTS vpc.{table} USING DELTA LOCATION '{place}';"
        assert created in spark
        assert (
            "CALL delta.system.register_table(schema_name => 'flowlake', "
            f"table_name => '{table}', table_location => '{place}');"
        ) in trino
        assert (
            f"CREATE EXTERNAL TABLE IF NOT EXISTS flowlake.{table}\n"
            f"LOCATION '{place}/'\nTBLPROPERTIES ('table_type' = 'DELTA');"
        ) in athena
    for to in ENGINES:
        assert len(parse(ddl(to, "s3://logs/lake"), read=ENGINES[to].dialect)) == 4


def test_a_lake_in_a_folder_is_for_spark(tmp_path: Path) -> None:
    assert f"LOCATION '{tmp_path.resolve().as_uri()}/my%20lake/flows'" in ddl(
        "spark", tmp_path / "my lake"
    )


@pytest.mark.parametrize(
    ("to", "lake", "schema", "complaint"),
    [
        ("duckdb", "s3://logs/lake", None, "no engine 'duckdb': choose one of spark, trino"),
        ("athena", "lake", None, "Athena cannot read a lake in "),
        ("trino", "/lake", None, "Trino cannot read a lake in /lake: give its s3:// prefix."),
        ("spark", "-", None, "Spark SQL cannot read a lake in stdin:"),
        ("spark", "s3://logs/it's", None, "has a quotation mark"),
        ("trino", "s3://logs/lake", "vpc", "'vpc' is not a schema of Trino: write delta.flowlake"),
        ("athena", "s3://logs/lake", "a.b", "'a.b' is not a schema of Athena: write flowlake."),
        ("spark", "s3://logs/lake", "a;b", "'a;b' is not a schema of Spark SQL: write flowlake."),
    ],
)
def test_what_cannot_be_registered(to: str, lake: str, schema: str | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        ddl(to, lake, schema)


def test_the_command_line_knows_every_engine() -> None:
    assert tuple(ENGINES) == completing.ENGINES
