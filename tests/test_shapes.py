"""The sample in every shape: the same records, in the objects that AWS would have made of them."""

import gzip
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import flowlake
from flowlake.errors import UsageError
from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT
from flowlake.layout import parse_key
from flowlake.samples import sample_tables, write_sample
from flowlake.shapes import SHAPES, write_shape
from flowlake.storage import open_storage

KNOBS: dict[str, Any] = {"hours": 3, "every": 12, "records_per_object": 150}
HELD = {"parquet": "parquet", "hive-parquet": "parquet"}
OF_AWS = ("text", "hive", "parquet", "hive-parquet")
OF_CLOUDWATCH = ("export", "subscription", "messages")


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of each shape, and a lake of each bucket."""
    root = tmp_path_factory.mktemp("shapes")
    for shape in SHAPES:
        made = write_shape(open_storage(str(root)), shape, f"{root}/{shape}/", **KNOBS)
        files = [path for path in (root / shape).rglob("*") if path.is_file()]
        assert (made.objects, made.bytes) == (
            len(files),
            sum(each.stat().st_size for each in files),
        )
        report = flowlake.convert(root / shape, lake=root / "lakes" / shape, workers=1)
        assert (report.rows, report.rejected, report.unreadable) == (made.records, 0, 0)
    return root


def rows(buckets: Path, shape: str) -> pl.DataFrame:
    """A lake's rows without the objects they came from, ordered by all that they say."""
    flows = flowlake.open_lake(buckets / "lakes" / shape).flows().drop("object_id").collect()
    return flows.sort(pl.all())


def bodies(buckets: Path, shape: str) -> dict[str, bytes]:
    root = buckets / shape
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_default_is_the_sample_as_it_was(tmp_path: Path, buckets: Path) -> None:
    write_sample(open_storage(str(tmp_path)), f"{tmp_path}/text/", **KNOBS)
    assert bodies(tmp_path, "text") == bodies(buckets, "text")


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, buckets: Path) -> None:
    for shape in SHAPES:
        write_shape(open_storage(str(tmp_path)), shape, f"{tmp_path}/{shape}/", **KNOBS)
        assert bodies(tmp_path, shape) == bodies(buckets, shape), shape


def test_the_lake_says_how_its_objects_held_their_records(buckets: Path) -> None:
    for shape in SHAPES:
        objects = flowlake.open_lake(buckets / "lakes" / shape).objects()
        held = Counter(objects.filter(pl.col("state") == "converted")["shape"])
        word = {"hive": "text", "transit-gateway": "text", **HELD}.get(shape, shape)
        assert list(held) == [word], shape
        others = objects.filter(pl.col("state") != "converted")
        assert set(others["state"]) <= {"skipped"}
        assert others.height == (2 if shape == "export" else 0)


@pytest.mark.parametrize("shape", OF_AWS[1:])
def test_a_lake_of_another_shape_holds_the_same_rows(buckets: Path, shape: str) -> None:
    expected = rows(buckets, "text")
    assert expected.height == 12 * 150 + 2
    assert_frame_equal(rows(buckets, shape), expected)


@pytest.mark.parametrize("shape", OF_CLOUDWATCH)
def test_cloudwatch_holds_the_records_of_the_default_format(buckets: Path, shape: str) -> None:
    default = {
        parse_key(key).flow_log_id
        for key, table in sample_tables(**KNOBS)
        if tuple(table.columns) == DEFAULT_FORMAT
    }
    assert len(default) == 2
    expected = rows(buckets, "text").filter(pl.col("flow_log_id").is_in(default))
    assert expected.height == 3 * 150 + 2
    unsaid = expected.with_columns(
        region=pl.lit("unknown"), flow_log_id=pl.lit(None, pl.String)
    ).sort(pl.all())
    assert_frame_equal(rows(buckets, shape), unsaid)


def test_hive_keys_are_those_of_aws(buckets: Path) -> None:
    for shape, end in (("hive", ".log.gz"), ("hive-parquet", ".log.parquet")):
        for key in bodies(buckets, shape):
            name = parse_key(key)
            assert name.slot is not None
            assert key == (
                f"AWSLogs/aws-account-id={name.account_id}/aws-service=vpcflowlogs/"
                f"aws-region={name.region}/year={name.slot:%Y}/month={name.slot:%m}/"
                f"day={name.slot:%d}/hour={name.slot:%H}/{key.rpartition('/')[2]}"
            )
            assert key.endswith(end)
    assert {key.partition(".log")[0] for key in bodies(buckets, "parquet")} == {
        key.partition(".log")[0] for key in bodies(buckets, "text")
    }


def test_parquet_is_as_aws_writes_it(buckets: Path) -> None:
    numbers = {
        **dict.fromkeys(("version", "srcport", "dstport", "protocol"), "int32"),
        **dict.fromkeys(("tcp_flags", "traffic_path", "encryption_status"), "int32"),
        **dict.fromkeys(("packets", "bytes", "start", "end"), "int64"),
    }
    texts = Counter[str]()
    nulls = 0
    for key, body in bodies(buckets, "parquet").items():
        assert key.endswith(".log.parquet")
        file = pq.ParquetFile(io.BytesIO(body))
        for column in range(file.metadata.num_columns):
            assert file.metadata.row_group(0).column(column).compression == "GZIP"
        table = file.read()
        assert {field.name: str(field.type) for field in table.schema} == {
            name: numbers.get(name, "string") for name in table.schema.names
        }
        assert not any("-" in name for name in table.schema.names)
        for name in table.schema.names:
            if name in numbers:
                nulls += table[name].null_count
            else:
                assert table[name].null_count == 0
                texts.update(table[name].to_pylist())
    assert texts["-"] > 1000
    assert nulls > 100


def test_a_transit_gateways_records_are_plausible(buckets: Path) -> None:
    records = pl.concat(
        pl.read_csv(gzip.decompress(body), separator=" ", null_values="-", infer_schema=False)
        for body in bodies(buckets, "transit-gateway").values()
    )
    assert tuple(records.columns) == TRANSIT_GATEWAY_FORMAT
    assert set(records["version"]) == {"6"}
    assert set(records["resource-type"]) == {"TransitGateway"}
    assert records["tgw-id"].n_unique() == 4
    traffic = records.filter(pl.col("log-status") == "OK")
    assert traffic.height > 1000
    always = traffic.select(pl.exclude("pkt-src-aws-service", "pkt-dst-aws-service"))
    assert sum(always.null_count().row(0)) == 0
    assert traffic.filter(pl.col("tgw-src-vpc-id") == pl.col("tgw-dst-vpc-id")).is_empty()
    for end in ("src", "dst"):
        inside = traffic.filter(pl.col(f"{end}addr").str.starts_with("10.0."))
        vpcs = inside.group_by("account-id", "region").agg(pl.col(f"tgw-{end}-vpc-id").n_unique())
        assert vpcs[f"tgw-{end}-vpc-id"].to_list() == [1] * 4
    lost = traffic.filter(pl.col("packets-lost-no-route") != "0")
    assert 0 < lost.height < traffic.height / 20
    quiet = records.filter(pl.col("log-status") == "NODATA")
    assert quiet.height > 0
    assert quiet["tgw-attachment-id"].null_count() == quiet.height


def test_an_export_has_an_object_for_each_stream_and_a_write_test(buckets: Path) -> None:
    named = re.compile(r"exportedlogs/\d{12}/us-east-1/[0-9a-f-]{36}/(eni-\w+)-all/000000\.gz")
    tests = 0
    for key, body in bodies(buckets, "export").items():
        if key.endswith("/aws-logs-write-test"):
            assert body == b"Permission Check Successful"
            tests += 1
            continue
        match = named.fullmatch(key)
        assert match is not None, key
        lines = gzip.decompress(body).decode().splitlines()
        assert lines == sorted(lines, key=lambda line: line[:24])
        for line in lines:
            stamp, _, record = line.partition(" ")
            tokens = record.split(" ")
            time = datetime.fromtimestamp(int(tokens[10]), UTC)
            assert stamp == f"{time:%Y-%m-%dT%H:%M:%S}.000Z"
            assert tokens[2] == match[1]
    assert tests == 2


def test_a_subscription_is_messages_one_after_the_other(buckets: Path) -> None:
    ids: list[str] = []
    controls = 0
    for key, body in bodies(buckets, "subscription").items():
        assert re.fullmatch(
            r"(\d{4})/(\d\d)/(\d\d)/(\d\d)/stream-1-\1-\2-\3-\4-\d\d-00-[0-9a-f-]{36}", key
        )
        text, at = gzip.decompress(body).decode(), 0
        assert "\n" not in text
        assert "} {" not in text
        while at < len(text):
            message, at = json.JSONDecoder().raw_decode(text, at)
            if message["messageType"] == "CONTROL_MESSAGE":
                controls += 1
                continue
            for event in message["logEvents"]:
                tokens = event["message"].split(" ")
                assert message["logStream"] == f"{tokens[2]}-all"
                assert message["owner"] == tokens[1]
                assert event["timestamp"] == int(tokens[10]) * 1000
                ids.append(event["id"])
    assert controls == 1
    assert len(set(ids)) == len(ids) == 3 * 150 + 2
    assert {len(each) for each in ids} == {56}


def test_messages_hold_one_record_each(buckets: Path) -> None:
    records = 0
    for body in bodies(buckets, "messages").values():
        text = gzip.decompress(body).decode()
        documents = json.loads("[" + text.replace("}{", "},{") + "]")
        assert [list(each) for each in documents] == [["message"]] * len(documents)
        records += len(documents)
    assert records == 3 * 150 + 2


def test_an_unknown_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--shape is one of text, hive, .*, not 'ORC'"):
        write_shape(open_storage(str(tmp_path)), "ORC")
    assert list(tmp_path.iterdir()) == []
