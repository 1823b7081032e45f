"""Transit gateway flow logs lie apart: no answer counts them, no file holds both."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction
from isal import igzip
from polars.testing import assert_frame_equal

import flowlake
from flowlake.catalog import Question, question, questions
from flowlake.committing import SCHEMAS, Tables
from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, flows_schema, polars_schema
from flowlake.files import file_urls, live_files
from flowlake.layout import object_key
from flowlake.queries import bind
from flowlake.samples import ACCOUNTS, EVERY_FIELD_FORMAT, REGIONS, START, write_sample
from flowlake.storage import open_storage
from flowlake.verifying import verify
from flowlake.window import Window
from tests.test_exactly_once import ACCOUNT, DAY, REGION, put, raw_object

HOURS = 3
SINCE = "2026-01-14T23:30Z"
WINDOWS: list[dict[str, Any]] = [
    {},
    {"since": "2026-01-15"},
    {"until": "2026-01-14T23:00Z"},
    {"since": "2026-01-14T23:00Z", "until": "2026-01-15T00:30Z", "region": REGIONS[0]},
    {"account": ACCOUNTS[0]},
    {"account": "999999999999"},
    {"since": "2030-01-01"},
]
WITHOUT_TYPE = tuple(name for name in TRANSIT_GATEWAY_FORMAT if name != "resource-type")
EVERYTHING = ("resource-type", *EVERY_FIELD_FORMAT)
"""What no transit gateway says, so that every question would take it for a VPC's."""
CLOUD_WAN = ("resource-type", "core-network-id", *DEFAULT_FORMAT[:2], *DEFAULT_FORMAT[3:])


def gateway_object(
    number: int,
    moment: datetime,
    *,
    account: str = ACCOUNT,
    region: str = REGION,
    header: Sequence[str] = TRANSIT_GATEWAY_FORMAT,
    kind: str = "TransitGateway",
    records: int = 5,
) -> tuple[str, bytes]:
    """An object of transit gateway records that every question would count, were they flows."""
    lines = [" ".join(header)]
    for each in range(records):
        start = int((moment + timedelta(seconds=each)).timestamp())
        values = {
            "version": 6,
            "resource-type": kind,
            "account-id": account,
            "tgw-id": "tgw-0a",
            "core-network-id": "core-network-0a",
            "srcaddr": f"10.0.0.{each}",
            "dstaddr": "203.0.113.1",
            "srcport": 40_000 + each,
            "dstport": 22,
            "protocol": 6,
            "packets": 10**6,
            "bytes": 10**9,
            "start": start,
            "end": start + 60,
            "action": "ACCEPT" if header == EVERYTHING else "REJECT",
            "log-status": "OK",
            "type": "IPv4",
            "tcp-flags": 2,
            "region": region,
            "flow-direction": "egress",
            "pkt-dst-aws-service": "S3",
            "packets-lost-no-route": each,
            "interface-id": "eni-0cafe",
            "instance-id": "i-0cafe",
            "vpc-id": "vpc-0cafe",
            "subnet-id": "subnet-0cafe",
            "pkt-srcaddr": f"10.0.0.{each}",
            "pkt-dstaddr": "203.0.113.1",
            "traffic-path": 8,
            "az-id": "use1-az1",
            "next-hop-az-id": "use1-az2",
            "next-hop-interface-type": "nat_gateway",
        }
        lines.append(" ".join(str(values.get(name, "-")) for name in header))
    key = object_key(account, region, "fl-0cafe", moment, f"{number:08x}")
    return key, igzip.compress("\n".join([*lines, ""]).encode())


def gateway_objects() -> list[tuple[str, bytes]]:
    """Objects in every partition of the sample, of every way to say what they are of."""
    ways: list[dict[str, Any]] = [
        {},
        {"kind": "TransitGatewayAttachment"},
        {"kind": "-"},
        {"header": WITHOUT_TYPE},
        {"header": CLOUD_WAN, "kind": "CoreNetworkAttachment"},
        {"header": EVERYTHING},
    ]
    return [
        gateway_object(
            100 * hour + number,
            START + timedelta(hours=hour, minutes=5 * number),
            account=account,
            region=region,
            **way,
        )
        for hour in range(HOURS)
        for account in ACCOUNTS
        for region in REGIONS
        for number, way in enumerate(ways)
    ]


def make_older(lake: str) -> None:
    """Make the lake as it was before: one file a partition, whatever it holds, and no statistic."""
    tables = Tables(lake)
    flows = tables.table("flows")
    stated = flows.metadata().configuration["delta.dataSkippingStatsColumns"]
    flows.alter.set_table_properties(
        {"delta.dataSkippingStatsColumns": stated.removesuffix(",resource_type")}
    )
    flows = tables.table("flows")
    actions: list[AddAction | RemoveAction] = []
    for (partition,), files in live_files(flows).group_by("partition"):
        assert isinstance(partition, dict)
        bodies = [tables.storage.get(f"{lake}/flows/{path}") for path in files["path"]]
        whole = pa.concat_tables(
            [pq.read_table(pa.BufferReader(body), partitioning=None) for body in bodies],
            promote_options="default",
        )
        sink = pa.BufferOutputStream()
        pq.write_table(whole, sink)
        path = files["path"][0].rpartition("/")[0] + "/older.parquet"
        tables.storage.put(f"{lake}/flows/{path}", sink.getvalue())
        ranges = {
            f"{name}Values": {
                column: files[f"{name}.{column}"].sort(descending=name == "max")[0].isoformat()
                for column in ("start_time", "end_time")
            }
            for name in ("min", "max")
        }
        statistics = json.dumps({"numRecords": whole.num_rows, "nullCount": {}, **ranges})
        size = sink.getvalue().size
        actions.append(AddAction(path, size, partition, 0, True, statistics))
        actions += [
            RemoveAction(path, True, 0, size=size, partition_values=partition)
            for path, size in files.select("path", "size").iter_rows()
        ]
    flows.create_write_transaction(
        actions,
        "append",
        flows.schema(),
        partition_by=flows.metadata().partition_columns,
        commit_properties=CommitProperties(
            app_transactions=[Transaction("flowlake", flows.transaction_version("flowlake") or 0)]
        ),
    )


def files_of(lake: str | os.PathLike[str]) -> list[pa.Table]:
    """The live files themselves."""
    tables = Tables(os.fspath(lake))
    paths = live_files(tables.table("flows"))["path"]
    bodies = [tables.storage.get(f"{tables.url}/flows/{path}") for path in paths]
    return [pq.read_table(pa.BufferReader(body), partitioning=None) for body in bodies]


def is_pure(file: pa.Table) -> bool:
    return "resource_type" not in file.column_names or not file.column("resource_type").null_count


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(frame.columns)


def fill(folder: Path) -> None:
    prefix = f"{folder}/raw/"
    write_sample(open_storage(str(folder)), prefix=prefix, hours=HOURS, records_per_object=60)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> flowlake.Lake:
    """A lake of VPC flow logs alone."""
    folder = tmp_path_factory.mktemp("alone")
    fill(folder)
    flowlake.convert(folder / "raw", lake=folder / "lake", workers=1)
    return flowlake.open_lake(folder / "lake")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> flowlake.Lake:
    """The same VPC flow logs in one task with the transit gateway's."""
    folder = tmp_path_factory.mktemp("both")
    fill(folder)
    for key, body in gateway_objects():
        put(str(folder), key, body)
    flowlake.convert(folder / "raw", lake=folder / "lake", workers=1)
    return flowlake.open_lake(folder / "lake")


@pytest.fixture(scope="module", params=["now", "older"])
def lake(
    request: pytest.FixtureRequest,
    both: flowlake.Lake,
    tmp_path_factory: pytest.TempPathFactory,
) -> flowlake.Lake:
    """The lake of both; and as one would be that was made before they lay in files apart."""
    if request.param == "now":
        return both
    older = tmp_path_factory.mktemp("older") / "lake"
    shutil.copytree(both.url, older)
    make_older(str(older))
    assert sum(map(is_pure, files_of(older))) == 1, "the two records of 2015"
    return flowlake.open_lake(older)


# --- Answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", questions(), ids=lambda asked: asked.name)
def test_no_answer_counts_them(both: flowlake.Lake, alone: flowlake.Lake, asked: Question) -> None:
    assert_same_answer(both, alone, asked)


def test_no_answer_of_an_older_lake_counts_them(lake: flowlake.Lake, alone: flowlake.Lake) -> None:
    """A few questions: what they read is compared below."""
    for name in ("bytes_total", "new_destinations", "transfer_cost", "data_quality"):
        assert_same_answer(lake, alone, question(name))


def assert_same_answer(lake: flowlake.Lake, alone: flowlake.Lake, asked: Question) -> None:
    given: dict[str, Any] = {"since": SINCE} if asked.query.history else {}
    expected = alone.query(asked.name, **given).pl()
    assert_frame_equal(lake.query(asked.name, **given).pl(), expected)
    values = bind(asked.query, {})
    frames = [lake.flows(**given)]
    if asked.query.history:
        frames.append(lake.history(SINCE, values[asked.query.history]))
    assert_frame_equal(asked.twin(*frames, **values).collect(), expected)


def test_they_would_have_been_counted(both: flowlake.Lake, alone: flowlake.Lake) -> None:
    """The records differ enough to be seen in an answer that took them for flows."""
    frame = pl.concat([both.flows(), both.transit_gateway_flows()]).collect().lazy()
    for name in ("bytes_total", "rejected_sources", "egress_destinations", "data_quality"):
        asked = question(name)
        answer = asked.twin(frame, **bind(asked.query, {})).collect()
        assert not answer.equals(alone.query(name).pl()), name


def test_hunting_finds_only_flows(lake: flowlake.Lake, alone: flowlake.Lake) -> None:
    def found(where: flowlake.Lake) -> list[Any]:
        return where.hunt("203.0.113.1", summary=True).fetchall()

    assert lake.transit_gateway_flows().filter(dstaddr="203.0.113.1").collect().height
    assert found(lake) == found(alone) != []


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_record_is_in_one_of_two_views(
    lake: flowlake.Lake, alone: flowlake.Lake, window: dict[str, Any]
) -> None:
    shown = [name for name in polars_schema() if name not in ("object_id", "flow_log_id")]
    flows = lake.flows(**window).select(shown).collect()
    assert_frame_equal(in_order(flows), in_order(alone.flows(**window).select(shown).collect()))

    others = lake.transit_gateway_flows(**window).collect()
    whole = lake.transit_gateway_flows()
    for name, column in (("account", "account_id"), ("region", "region")):
        if name in window:
            whole = whole.filter(pl.col(column) == window[name])
    start = pl.col("start_time")
    for name, inside in (("since", start.__ge__), ("until", start.__lt__)):
        if name in window:
            moment = datetime.fromisoformat(window[name]).replace(tzinfo=UTC)
            whole = whole.filter(inside(moment))
    assert_frame_equal(in_order(others), in_order(whole.collect()))

    for view, frame in (("flows", flows), ("transit_gateway_flows", others)):
        sql = f"SELECT count(*), count(resource_type), sum(bytes)::BIGINT FROM {view}"
        [(rows, typed, summed)] = lake.sql(sql, **window).fetchall()
        assert (rows, summed or 0) == (frame.height, frame["bytes"].sum())
        assert typed == (0 if view == "flows" else rows)
    assert bool(others.height) == ("2030-01-01" not in window.values() and window != WINDOWS[5])


def test_they_keep_all_their_columns(lake: flowlake.Lake) -> None:
    columns = [*polars_schema(), "core_network_id"]
    assert list(lake.transit_gateway_flows().collect_schema()) == columns
    connection = lake.connect()
    assert connection.sql("FROM transit_gateway_flows").columns == columns
    others = lake.transit_gateway_flows()
    kinds = dict(others.group_by("resource_type").len().collect().rows())
    objects = HOURS * len(ACCOUNTS) * len(REGIONS)
    assert kinds == {
        "TransitGateway": 10 * objects,
        "TransitGatewayAttachment": 5 * objects,
        "unknown": 10 * objects,
        "CoreNetworkAttachment": 5 * objects,
    }
    assert others.filter(pl.col("tgw_id") == "tgw-0a").collect().height == 20 * objects
    assert others.select(pl.sum("packets_lost_no_route")).collect().item() == 10 * 4 * objects
    assert set(others.select("region").collect()["region"]) == set(REGIONS)


def test_status_says_how_many(lake: flowlake.Lake, alone: flowlake.Lake) -> None:
    status = lake.status()
    others = lake.transit_gateway_flows().collect().height
    assert status.rows == lake.flows().collect().height + others
    older = "older" in lake.files()[0]
    assert status.transit_gateway_rows == (None if older else others)
    assert alone.status().transit_gateway_rows == 0


def test_all_rows_are_accounted_for(lake: flowlake.Lake) -> None:
    found = verify(lake=lake.url, grace=timedelta(0))
    assert found.gaps.rows() == []
    assert found.rows == lake.status().rows == lake.objects()["rows"].sum()


# --- Files --------------------------------------------------------------------------------------


def test_no_file_holds_both(both: flowlake.Lake) -> None:
    assert both.status().batches == 1
    assert all(map(is_pure, files_of(both)))
    live = live_files(Tables(both.url).table("flows"))
    kinds = live.with_columns(apart=pl.col("transit_gateway_rows") > 0)
    apart = kinds.filter("apart")
    assert apart["transit_gateway_rows"].equals(apart["rows"])
    twice = kinds.group_by("partition").len().filter(pl.col("len") == 2)
    assert twice.height == 2 * len(ACCOUNTS) * len(REGIONS)


def test_the_log_states_it_after_a_checkpoint(both: flowlake.Lake, tmp_path: Path) -> None:
    shutil.copytree(both.url, tmp_path / "lake")
    tables = Tables(str(tmp_path / "lake"))
    before = live_files(tables.table("flows")).sort("path")
    tables.table("flows").create_checkpoint()
    assert live_files(tables.table("flows")).sort("path").equals(before)
    assert before["transit_gateway_rows"].null_count() == 0
    protocol = tables.table("flows").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_neither_view_opens_the_others_files(both: flowlake.Lake, tmp_path: Path) -> None:
    """The files of one kind are taken away: the other kind answers all the same."""
    shutil.copytree(both.url, tmp_path / "lake")
    made = flowlake.open_lake(tmp_path / "lake")
    flows = made.flows().select(pl.len()).collect().item()
    others = made.transit_gateway_flows().select(pl.len()).collect().item()
    needed = set(made.files())
    rest = set(made.view("transit_gateway_flows", Window()).paths)
    assert needed.isdisjoint(rest)
    assert needed | rest == set(file_urls(Tables(made.url).table("flows")))
    kept = {path: Path(path).read_bytes() for path in needed}
    for path in needed:
        Path(path).unlink()
    assert made.transit_gateway_flows().collect().height == others
    for path in rest:
        Path(path).unlink()
    for path, body in kept.items():
        Path(path).write_bytes(body)
    assert made.flows().collect().height == flows
    assert made.sql("SELECT count(object_id) FROM flows").fetchall() == [(flows,)]


def test_pure_files_are_not_filtered(lake: flowlake.Lake, alone: flowlake.Lake) -> None:
    def plans(where: flowlake.Lake) -> str:
        rows = pl.len()
        return "\n".join(
            [
                where.sql("SELECT count(*) FROM flows").explain(),
                where.sql("SELECT count(*) FROM transit_gateway_flows").explain(),
                where.flows().select(rows).explain(),
                where.transit_gateway_flows().select(rows).explain(),
            ]
        )

    older = "older" in lake.files()[0]
    assert ("resource_type" in plans(lake)) == older
    assert "resource_type" not in plans(alone)


# --- Conversions --------------------------------------------------------------------------------

VPC_RECORDS = 6


def counts(lake: str) -> tuple[int, int]:
    """How many records the two views have, the same through both doors."""
    opened = flowlake.open_lake(lake)
    frames = (opened.flows(), opened.transit_gateway_flows())
    flows, others = (frame.select(pl.len()).collect().item() for frame in frames)
    sql = "SELECT (SELECT count(*) FROM flows), (SELECT count(*) FROM transit_gateway_flows)"
    assert opened.sql(sql).fetchall() == [(flows, others)]
    return flows, others


@pytest.mark.parametrize("older", [False, True], ids=["now", "older"])
def test_on_both_places_and_replaced(place: str, older: bool) -> None:
    """Objects of both kinds, in one partition, converted and then replaced."""
    lake = f"{place}/lake"
    for number in range(3):
        put(place, *raw_object(number))
        put(place, *gateway_object(number, DAY + timedelta(minutes=number)))
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    if older:
        make_older(lake)
    assert [is_pure(file) for file in files_of(lake)] == ([False] if older else [True, True])
    assert counts(lake) == (3 * VPC_RECORDS, 3 * 5)
    opened = flowlake.open_lake(lake)
    window: dict[str, Any] = {"since": DAY, "until": DAY + timedelta(minutes=2)}
    assert opened.flows(**window).collect().height == VPC_RECORDS
    assert opened.transit_gateway_flows(**window).collect().height == 2 * 5
    assert opened.query("top_talkers", **window).pl()["flows"].sum() == VPC_RECORDS

    put(place, *gateway_object(1, DAY + timedelta(minutes=1), records=9))
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert all(map(is_pure, files_of(lake)))
    assert counts(lake) == (3 * VPC_RECORDS, 5 + 9 + 5)

    put(place, raw_object(1)[0], raw_object(1, records=20)[1])
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert all(map(is_pure, files_of(lake)))
    assert counts(lake) == (2 * VPC_RECORDS + 20, 5 + 9 + 5)
    found = verify(lake=lake, grace=timedelta(0))
    assert found.gaps.rows() == []


def test_a_flow_log_put_behind_another(tmp_path: Path) -> None:
    """One object with both headers, as people make with cat: each line goes where it belongs."""
    place = str(tmp_path)
    key, vpc = raw_object(0)
    gateway = gateway_object(0, DAY, header=WITHOUT_TYPE)[1]
    put(place, key, vpc + gateway + vpc)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert counts(f"{place}/lake") == (2 * VPC_RECORDS, 5)
    assert [is_pure(file) for file in files_of(f"{place}/lake")] == [True, True]
    assert verify(lake=f"{place}/lake", grace=timedelta(0)).gaps.rows() == []


def test_a_lake_that_knew_of_no_resource_type(tmp_path: Path) -> None:
    place = str(tmp_path)
    schema = flows_schema()
    schema = schema.remove(schema.get_field_index("resource_type"))
    for name, columns in (*SCHEMAS.items(), ("flows", schema)):
        DeltaTable.create(
            f"{place}/lake/{name}",
            schema=Schema.from_arrow(columns),
            partition_by=["date"] if name == "flows" else None,
        )
    put(place, *raw_object(0))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert counts(f"{place}/lake") == (VPC_RECORDS, 0)
    put(place, *gateway_object(0, DAY))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert counts(f"{place}/lake") == (VPC_RECORDS, 5)


# --- Doors of one's own -------------------------------------------------------------------------

OWN = """\
-- name: lost
-- title: Lost packets
-- description: Packets that found no route, by transit gateway.
-- param: least BIGINT = 1 -- how many at least
-- returns: tgw_id VARCHAR, lost BIGINT

SELECT tgw_id, sum(packets_lost_no_route)::BIGINT AS lost
FROM transit_gateway_flows
WHERE packets_lost_no_route >= $least AND tgw_id IS NOT NULL
GROUP BY ALL;
"""


def test_queries_of_ones_own(lake: flowlake.Lake, tmp_path: Path) -> None:
    (tmp_path / "lost.sql").write_text(OWN)
    objects = 4 * HOURS * len(ACCOUNTS) * len(REGIONS)
    assert lake.query("lost", queries=tmp_path).fetchall() == [("tgw-0a", 10 * objects)]
    found = lake.query("lost", queries=tmp_path, least=4, until="2026-01-14T23:00Z").fetchall()
    assert found == [("tgw-0a", 4 * objects // HOURS)]


def test_the_database_has_both_views(
    lake: flowlake.Lake, alone: flowlake.Lake, tmp_path: Path
) -> None:
    (tmp_path / "lost.sql").write_text(OWN)
    own = [flowlake.queries.load_query(name, tmp_path) for name in ("top_talkers", "lost")]
    path = tmp_path / "lake.duckdb"
    for window in ({}, {"since": SINCE}, {"account": ACCOUNTS[1], "until": SINCE}):
        flowlake.write_database(lake, path, queries=own, **window)
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for view, frame in (
                ("flows", lake.flows(**window)),
                ("transit_gateway_flows", lake.transit_gateway_flows(**window)),
            ):
                shown = connection.sql(f"FROM {view}").pl()
                assert_frame_equal(in_order(shown), in_order(frame.collect()))
            answer = connection.sql("FROM top_talkers()").pl()
            assert_frame_equal(answer, alone.query("top_talkers", **window).pl())
            expected = lake.query("lost", queries=tmp_path, **window).fetchall()
            assert connection.sql("FROM lost()").fetchall() == expected
            history = connection.sql("SELECT count(*), count(resource_type) FROM history")
            past = alone.flows(until=SINCE).collect().height if "since" in window else 0
            assert history.fetchall() == [(past, 0)]
