"""docs/inputs.md is true: each row of its tables is a case here, built as AWS would and converted.

The two records of ``DEFAULT`` go through every shape, and must come out as ``EXPECTED``.
"""

import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import flowlake
from flowlake.cli import app
from flowlake.fields import BY_COLUMN, DEFAULT_FORMAT
from flowlake.layout import may_hold
from flowlake.planning import list_objects, named
from flowlake.reading import foreign
from flowlake.shapes import parquet_bytes
from flowlake.storage import Access
from flowlake.verifying import verify
from flowlake.window import Window

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
REAL = ROOT / "tests" / "data" / "records"

DEFAULT = (REAL / "flowlogs-reader-v2-no-header.log").read_text().splitlines()[2:4]
STAMPS = ("2015-08-12T13:47:43.000Z", "2015-05-10T18:01:16.000Z")
"""What ``start`` of the two records is, as an export writes it."""

COLUMNS = ("interface_id", "account_id", "srcaddr", "dstport", "bytes", "end_time", "action")
Rows = list[tuple[Any, ...]]
EXPECTED: Rows = [
    (
        *("eni-102010cd", "123456789010", "192.0.2.1", 443, 1680),
        *(datetime(2015, 8, 12, 13, 47, 46, tzinfo=UTC), "REJECT"),
    ),
    (
        *("eni-1a2b3c4d", "123456789010", None, None, None),
        *(datetime(2015, 5, 10, 18, 2, 14, tzinfo=UTC), None),
    ),
]


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    return rows[1:]


def convert(folder: Path, *words: str, lake: str = "lake") -> Result:
    """Convert ``raw`` of the folder by the command."""
    given = ["convert", f"{folder}/raw", "--lake", f"{folder}/{lake}", *words]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def put(folder: Path, key: str, body: bytes) -> None:
    path = folder / "raw" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def lake_of(folder: Path) -> flowlake.Lake:
    return flowlake.open_lake(folder / "lake")


# --- Flow logs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An object as AWS makes it, and what of it must be in the lake."""

    body: bytes
    shape: str
    rows: Rows
    columns: tuple[str, ...] = COLUMNS
    rejected: int = 0
    more: frozenset[str] = frozenset()
    """Columns that have values besides those of the default format."""


def subscription() -> bytes:
    """What Firehose writes of a subscription: each message a member of gzip, none ends a line."""
    control = {
        "messageType": "CONTROL_MESSAGE",
        "owner": "CloudwatchLogs",
        "logEvents": [{"id": "", "timestamp": 1510254469274, "message": "CWL CONTROL MESSAGE: x"}],
    }
    data = [
        {
            "messageType": "DATA_MESSAGE",
            "owner": "999999999999",
            "logGroup": "flow-logs",
            "logStream": "eni-x-all",
            "subscriptionFilters": ["all"],
            "logEvents": [
                {
                    "id": f"3503629423882649280630{n}",
                    "timestamp": 1,
                    "message": record,
                    "extractedFields": {"srcaddr": "203.0.113.99", "account_id": "999999999999"},
                }
            ],
        }
        for n, record in enumerate(DEFAULT)
    ]
    return b"".join(gzip.compress(json.dumps(each).encode()) for each in [control, *data])


def cli_events() -> bytes:
    events = [
        {
            "logStreamName": "eni-x-all",
            "timestamp": 1,
            "message": record,
            "ingestionTime": 2,
            "eventId": "1",
        }
        for record in DEFAULT
    ]
    return json.dumps({"events": events, "searchedLogStreams": []}, indent=4).encode()


def aws_parquet() -> bytes:
    cells = [[None if cell == "-" else cell for cell in line.split()] for line in DEFAULT]
    records = pl.DataFrame(cells, schema=dict.fromkeys(DEFAULT_FORMAT, pl.String), orient="row")
    numbers = [each.name for each in BY_COLUMN.values() if each.type != "text"]
    return parquet_bytes(
        records.with_columns(
            pl.col([name for name in DEFAULT_FORMAT if name in numbers]).cast(pl.Int64)
        )
    )


def other_parquet() -> bytes:
    """A float, timestamps, texts and a number for an account; the third row's protocol is none."""
    none, start = None, datetime(2015, 8, 12, 13, 47, 43, tzinfo=UTC)
    body = io.BytesIO()
    pq.write_table(
        pa.table(
            {
                "account_id": pa.array([7, 123456789010, 1], pa.int64()),
                "interface_id": ["eni-1", "eni-2", "eni-3"],
                "srcaddr": ["192.0.2.1", "-", none],
                "dstport": ["443", "None", "nan"],
                "protocol": pa.array([6.0, none, 6.5]),
                "bytes": pa.array([1680, none, 2], pa.uint64()),
                "end": pa.array([start, none, start], pa.timestamp("ms")),
            }
        ),
        body,
    )
    return body.getvalue()


def lines(*parts: str) -> bytes:
    return "".join(f"{part}\n" for part in parts).encode()


HEADER = " ".join(DEFAULT_FORMAT)
REVERSED = " ".join(reversed(DEFAULT_FORMAT))
BACKWARDS = " ".join(reversed(DEFAULT[1].split()))

CASES: dict[str, Case] = {
    "Text with a header": Case(
        gzip.compress(lines("above", HEADER, DEFAULT[0], HEADER, REVERSED, BACKWARDS)),
        "text",
        EXPECTED,
        rejected=1,
    ),
    "Text without a header": Case(lines(*DEFAULT), "text", EXPECTED),
    "CloudWatch Logs export": Case(
        gzip.compress(lines(*map(" ".join, zip(STAMPS, DEFAULT, strict=True)))), "export", EXPECTED
    ),
    "CloudWatch Logs subscription": Case(subscription(), "subscription", EXPECTED),
    "Firehose messages": Case(
        b"".join(json.dumps({"message": record, "x": "y"}).encode() for record in DEFAULT),
        "messages",
        EXPECTED,
    ),
    "AWS CLI events": Case(cli_events(), "events", EXPECTED),
    "Parquet of AWS": Case(aws_parquet(), "parquet", EXPECTED),
    "Parquet of other tools": Case(
        other_parquet(),
        "parquet",
        [
            ("eni-1", "000000000007", 443, 6, datetime(2015, 8, 12, 13, 47, 43, tzinfo=UTC)),
            ("eni-2", "123456789010", None, None, None),
        ],
        ("interface_id", "account_id", "dstport", "protocol", "end_time"),
        rejected=1,
    ),
    "Transit gateway flow logs": Case(
        (REAL / "flowlogs-reader-v6.log").read_bytes(),
        "text",
        [("TransitGateway", "00000000", "00000012", 13, None)],
        ("resource_type", "tgw_id", "tgw_pair_attachment_id", "packets_lost_no_route", "action"),
        more=frozenset(
            column for column in BY_COLUMN if column.startswith(("tgw_", "packets_lost_"))
        )
        | {"resource_type"},
    ),
}
SAID_BY_FLOWLAKE = {"date", "region", "account_id", "object_id"}


def test_every_row_of_the_table_has_a_case() -> None:
    assert [row[0] for row in table("Flow logs")] == list(CASES)


@pytest.mark.parametrize("what", CASES)
def test_a_shape_gives_its_records_and_nothing_else(what: str, tmp_path: Path) -> None:
    [said] = [row[1] for row in table("Flow logs") if row[0] == what]
    case = CASES[what]
    assert said in (f"`{case.shape}`", "any of these")
    put(tmp_path, "2026/01/14/22/an-object-of-some-name", case.body)
    done = convert(tmp_path)
    assert done.exit_code == 0, done.output
    lake = lake_of(tmp_path)
    [ledger] = lake.objects().to_dicts()
    assert (ledger["state"], ledger["shape"]) == ("converted", case.shape)
    assert (ledger["rows"], ledger["rejected"]) == (len(case.rows), case.rejected)
    of_gateways = what == "Transit gateway flow logs"
    flows = (lake.transit_gateway_flows() if of_gateways else lake.flows()).collect()
    assert sorted(flows.select(case.columns).rows(), key=str) == case.rows
    has = {column for column in flows.columns if flows[column].null_count() < flows.height}
    default = {column for column, each in BY_COLUMN.items() if each.name in DEFAULT_FORMAT}
    assert has <= default | SAID_BY_FLOWLAKE | case.more
    assert set(flows["region"]) == {"unknown"}
    if not of_gateways:
        assert all(day.year == 2015 for day in flows["date"].drop_nulls().gather([0]))
    assert verify(lake=tmp_path / "lake", grace=timedelta(0)).gaps.is_empty()


def twice(body: bytes) -> bytes:
    return gzip.compress(gzip.compress(body))


def in_members(body: bytes) -> bytes:
    half = len(body) // 2
    return gzip.compress(body[:half]) + gzip.compress(body[half:])


@pytest.mark.parametrize("pack", [gzip.compress, in_members, twice])
def test_each_shape_may_be_compressed(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for number, case in enumerate(CASES.values()):
        put(tmp_path, f"{number}", pack(case.body))
    assert convert(tmp_path).exit_code == 0
    ledger = lake_of(tmp_path).objects().sort("url")
    assert ledger["shape"].to_list() == [case.shape for case in CASES.values()]
    assert ledger["rows"].to_list() == [len(case.rows) for case in CASES.values()]


def test_every_shape_is_described() -> None:
    shapes = {row[1].strip("`") for row in table("Flow logs")} - {"any of these"}
    reading = (ROOT / "flowlake" / "reading" / "formats.py").read_text()
    named = re.search(r"^Shape = Literal\[(.*?)\]", reading, re.MULTILINE)
    assert named is not None
    assert shapes == set(re.findall(r'"(\w+)"', named[1]))


def excerpt(what: str) -> str:
    """The example of a shape that the page shows."""
    section = PAGE.split(f"\n### {what}\n")[1].split("\n##")[0]
    [block] = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_examples_of_the_page_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    typed = [what for what in CASES if what.startswith("Parquet")]
    texts = [what for what in CASES if what not in typed]
    for number, what in enumerate(texts):
        put(tmp_path, str(number), excerpt(what).encode())
    assert convert(tmp_path, "--strict").exit_code == 0
    ledger = lake_of(tmp_path).objects().sort("url")
    assert ledger["shape"].to_list() == [CASES[what].shape for what in texts]
    records = {"Text without a header": 3, "CloudWatch Logs export": 2, "Firehose messages": 2}
    assert ledger["lines"].to_list() == [records.get(what, 1) for what in texts]
    real = [what for path in sorted(REAL.iterdir()) for what in said_of(path)]
    made = {"CloudWatch Logs export", "Firehose messages", "AWS CLI events"}
    assert set(texts) - made <= set(real)
    shown = re.findall(r"(\w+): (\w+)", excerpt("Parquet of AWS"))
    schema = pq.read_schema(io.BytesIO(CASES["Parquet of AWS"].body))
    assert shown == [(each.name, str(each.type)) for each in schema]
    said = excerpt("Parquet of other tools").replace('"', "").splitlines()
    header, *cells = [line.split() for line in said]
    rows = pq.read_table(REAL / "flowlogs-reader-flows.parquet", columns=header).to_pylist()
    assert cells == [[str(cell) for cell in row.values()] for row in rows]


def said_of(path: Path) -> list[str]:
    """The shapes whose example on the page is of a real file."""
    if path.suffix not in (".log", ".json"):
        return []
    text = path.read_text()
    record = json.loads(text)["message"] if path.suffix == ".json" else text.splitlines()[-1]
    return [what for what in CASES if record in excerpt(what)]


def test_wrong_records_are_counted_where_they_stand(tmp_path: Path) -> None:
    good = json.dumps({"message": DEFAULT[0]})
    put(tmp_path, "messages", f'{good}{{"message": "cut\n{good}{{"no": "message"}}{good}'.encode())
    put(tmp_path, "table.parquet", other_parquet())
    assert convert(tmp_path, "--strict").exit_code == 1
    rejects = lake_of(tmp_path).rejects().sort("url", "line_number")
    assert rejects.select("line_number", "reason").rows() == [
        (2, "not JSON"),
        (4, "no message in it"),
        (3, "protocol '6.5' is not a whole number"),
    ]


def test_what_says_neither_region_nor_flow_log_nor_time(tmp_path: Path) -> None:
    put(tmp_path, "timeless", lines("2026-01-14T22:01:39.000Z eni-1 10.0.0.1 eu-west-1 REJECT"))
    given = "interface-id srcaddr region action"
    assert convert(tmp_path, "--fields", given).exit_code == 0
    [row] = lake_of(tmp_path).flows().collect().to_dicts()
    assert (row["region"], row["account_id"], row["flow_log_id"]) == ("eu-west-1", "unknown", None)
    modified = datetime.fromtimestamp((tmp_path / "raw" / "timeless").stat().st_mtime, UTC)
    assert (row["start_time"], row["date"]) == (None, modified.date())


# --- Records without a header -------------------------------------------------------------------

CUSTOM = "eni-1 10.0.0.5 203.0.113.9 443 6 1768428000 1768428055 ACCEPT OK"
CUSTOM_FIELDS = "interface-id srcaddr dstaddr dstport protocol start end action log-status"
SHORT = "10.0.0.7 443 52 REJECT"
SHORT_FIELDS = "${srcaddr} ${dstport} ${bytes} ${action}"


def test_formats_are_given_when_records_have_no_header(tmp_path: Path) -> None:
    event = {"logEvents": [{"id": "1", "timestamp": 1, "message": CUSTOM}]}
    put(tmp_path, "a-export", lines(f"2026-01-14T22:00:00.000Z {CUSTOM}"))
    put(tmp_path, "b-subscription", json.dumps({"messageType": "DATA_MESSAGE", **event}).encode())
    put(tmp_path, "c-short", lines(SHORT, SHORT))
    put(tmp_path, "d-header", lines(HEADER, *DEFAULT))
    done = convert(tmp_path)
    assert done.exit_code == 1
    assert done.stderr.count("name them with --fields '…', in their order, and add --retry") == 3
    words = ["--fields", CUSTOM_FIELDS, "--fields", SHORT_FIELDS]
    assert "Nothing new" in convert(tmp_path, *words).stdout, "without --retry"
    assert convert(tmp_path, *words, "--retry").exit_code == 0
    lake = lake_of(tmp_path)
    state = lake.objects().filter(pl.col("state") == "converted").sort("url")
    assert state.select("shape", "rows").rows() == [
        ("export", 1),
        ("subscription", 1),
        ("text", 2),
        ("text", 2),
    ]
    flows = lake.flows().select("srcaddr", "dstport", "bytes", "action").collect()
    assert sorted(flows.rows(), key=str) == [
        ("10.0.0.5", 443, None, "ACCEPT"),
        ("10.0.0.5", 443, None, "ACCEPT"),
        ("10.0.0.7", 443, 52, "REJECT"),
        ("10.0.0.7", 443, 52, "REJECT"),
        ("192.0.2.1", 443, 1680, "REJECT"),
        (None, None, None, None),
    ]


# --- Layouts and names --------------------------------------------------------------------------

LAYOUTS = dict(row for row in table("Layouts and names"))
DAY = datetime(2026, 1, 14, tzinfo=UTC)
NAMES = re.findall(r"`(\d{12}_vpcflowlogs_\S+)\.log\.gz`", PAGE)
IN_2026 = f"version bytes start end\n2 7 {int(DAY.timestamp())} {int(DAY.timestamp()) + 60}\n"
HELD = {
    ".log.gz": gzip.compress(IN_2026.encode()),
    ".log.parquet": parquet_bytes(pl.DataFrame({"version": [2], "bytes": [7]})),
}


def test_every_layout_is_there() -> None:
    assert list(LAYOUTS) == [
        *("default", "per hour", "Hive-compatible", "Hive-compatible, per hour"),
        *("Hive-compatible, older", "of an organization", "with a leading prefix", "your own"),
    ]
    assert len(NAMES) == 1


SLOT = datetime(2026, 1, 14, 22, 20, tzinfo=UTC)
SAID = ("123456789012", "eu-west-1", "fl-0123456789abcdef0")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_finds_what_the_name_says_in_each_layout(layout: str, tmp_path: Path) -> None:
    folder = LAYOUTS[layout].strip("`")
    for end, body in HELD.items():
        put(tmp_path, f"{folder}{NAMES[0]}{end}", body)
    later = SLOT + timedelta(minutes=5)
    for window, found in (
        (Window(SLOT, later, SAID[:1], SAID[1:2]), 2),
        (Window(later, later + timedelta(days=9)), 0),
        (Window(SLOT - timedelta(days=9), SLOT), 0),
    ):
        listed = named(list_objects([tmp_path / "raw"], window, Access()))
        assert (
            listed.select("account_id", "region", "flow_log_id", "slot").rows()
            == [(*SAID, SLOT)] * found
        )
    others = (
        Window(since=DAY + timedelta(days=1)),
        Window(until=DAY - timedelta(days=1)),
        Window(accounts=("999999999999",)),
        Window(regions=("us-east-1",)),
    )
    pruned = [not may_hold(f"s3://bucket/{folder}", window) for window in others]
    assert pruned == [layout != "your own"] * 4
    assert may_hold(f"s3://bucket/{folder}", Window(DAY, DAY, SAID[:1], SAID[1:2]))


def test_every_layout_is_converted_with_what_the_name_says(tmp_path: Path) -> None:
    for number, folder in enumerate(LAYOUTS.values()):
        for end, body in HELD.items():
            # AWS gives each object a hash of its own: without one, these would be copies.
            put(tmp_path, f"{folder.strip('`')}{NAMES[0][:-2]}{number:02d}{end}", body)
    chosen = ("--account", SAID[0], "--region", SAID[1])
    done = convert(tmp_path, *chosen, "--since", "2026-01-14", "--until", "2026-01-15")
    assert done.exit_code == 0, done.output
    lake = lake_of(tmp_path)
    names = ("account_id", "region", "flow_log_id")
    assert set(lake.objects().select(*names, "slot").rows()) == {(*SAID, SLOT)}
    flows = lake.flows().select(*names, "date", "bytes").collect()
    assert flows.rows() == [(*SAID, date(2026, 1, 14), 7)] * 2 * len(LAYOUTS)


def test_a_name_that_is_not_awss_says_nothing(tmp_path: Path) -> None:
    key = "2026/01/14/22/stream-1-2026-01-14-22-00-00-0cc13bd0-b908-0ae0-e8cf-b8b1f91a8f21"
    put(tmp_path, key, IN_2026.encode())
    assert convert(tmp_path, "--since", "1h").exit_code == 0
    [ledger] = lake_of(tmp_path).objects().to_dicts()
    said = [ledger[name] for name in ("account_id", "region", "flow_log_id", "slot")]
    assert said == [None] * 4
    assert ledger["rows"] == 1


# --- What is not a flow log ---------------------------------------------------------------------


def zipped() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("flows.log", lines(HEADER, *DEFAULT))
    return body.getvalue()


def tarred() -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        info = tarfile.TarInfo("flows.log")
        info.size = len(lines(*DEFAULT))
        archive.addfile(info, io.BytesIO(lines(*DEFAULT)))
    return body.getvalue()


def orc_file() -> bytes:
    body = io.BytesIO()
    orc.write_table(pa.table({"srcaddr": ["10.0.0.1"], "dstaddr": ["10.0.0.2"]}), body)
    return body.getvalue()


def parquet(columns: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    pq.write_table(pa.table(columns), body)
    return body.getvalue()


def ocsf() -> bytes:
    """Security Lake's form of a VPC flow log (OCSF's class Network Activity)."""
    return parquet(
        {
            "metadata": [{"product": {"name": "Amazon VPC", "feature": {"name": "Flowlogs"}}}],
            "cloud": [{"account": {"uid": "123456789012"}, "region": "us-east-1"}],
            "src_endpoint": [{"ip": "10.0.0.1", "port": 443}],
            "dst_endpoint": [{"ip": "10.0.0.2", "port": 49152}],
            "traffic": [{"packets": 1, "bytes": 40}],
            "class_uid": [4001],
            "time": [1768428000000],
            "region": ["us-east-1"],
        }
    )


def lambda_events() -> bytes:
    """A subscription to the log group of a Lambda function."""
    said = ["START RequestId: 0b6d Version: $LATEST\n", "END RequestId: 0b6d\n"]
    events = [{"id": str(n), "timestamp": 1768428000000, "message": m} for n, m in enumerate(said)]
    data = {"messageType": "DATA_MESSAGE", "logGroup": "/aws/lambda/f", "logEvents": events}
    return gzip.compress(json.dumps(data).encode())


TRAIL = {
    "Records": [
        {
            "eventVersion": "1.08",
            "userIdentity": {"type": "AssumedRole", "accountId": "123456789012"},
            "eventTime": "2026-01-14T22:01:02Z",
            "eventSource": "ec2.amazonaws.com",
            "eventName": "DescribeNetworkInterfaces",
            "awsRegion": "us-east-1",
            "sourceIPAddress": "198.51.100.1",
            "requestParameters": {"networkInterfaceIdSet": {"items": [{"id": "eni-0abc"}]}},
        }
    ]
}
STAMP = "2026-01-14T22:00:00.186641Z"

FOREIGN: dict[str, bytes] = {
    "PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "zip archive": zipped(),
    "tar archive": tarred(),
    "zstd file": b"\x28\xb5\x2f\xfd\x04\x58\x11\x00\x00",
    "bzip2 file": b"BZh91AY&SY\x94$|\x0e\x00",
    "xz file": b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F",
    "Avro file": b"Obj\x01\x04\x14avro.codec\x08null",
    "ORC file": orc_file(),
    "picture": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01",
    "program": b"\x7fELF\x02\x01\x01\x00",
    "CloudTrail log": gzip.compress(json.dumps(TRAIL, separators=(",", ":")).encode()),
    "CloudTrail digest": b'{"awsAccountId":"123456789012","digestEndTime":"2026-01-14"}',
    "AWS Config snapshot": b'{"fileVersion":"1.0","configSnapshotId":"x","configurationItems":[]}',
    "GuardDuty findings": b'{"schemaVersion":"2.0","accountId":"1","service":{"x":1}}',
    "Route 53 Resolver query log": b'{"version":"1.1","account_id":"1","query_name":"a.example."}',
    "AWS WAF log": b'{"timestamp":1,"formatVersion":1,"webaclId":"arn:aws:wafv2:x"}',
    "Network Firewall log": b'{"firewall_name":"f","event":{"src_ip":"10.0.0.1"}}',
    "ALB access log": gzip.compress(
        f"https {STAMP} app/lb/50dc6c 192.0.2.1:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "
        '"GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE TLSv1.2 x\n'.encode()
    ),
    "NLB access log": b"tls 2.0 2026-01-14T22:59:40 net/lb/c6 g3 192.0.2.1:51341 10.0.0.1:443",
    "Classic ELB access log": (
        f"{STAMP} lb 192.0.2.1:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "
        '"GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -\n'.encode()
    ),
    "CloudFront log": gzip.compress(
        b"#Version: 1.0\n#Fields: date time x-edge-location sc-bytes\n2026-01-14\t21:02:31\tLAX1\n"
    ),
    "S3 access log": (
        b"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be bucket "
        b'[14/Jan/2026:00:00:38 +0000] 192.0.2.3 79a5 3E57 REST.GET.OBJECT k "GET /k" 200\n'
    ),
    "CloudWatch Logs write test": b"Permission Check Successful",
    "CloudWatch Logs export of no flow log": gzip.compress(
        lines("2026-01-14T22:00:00.000Z START RequestId: 0b6d", "2026-01-14T22:00:01.000Z END")
    ),
    "JSON with messages that are no flow log records": lambda_events(),
    "JSON without flow log records": b'[{"version": 2, "srcaddr": "10.0.0.1"}]',
    "HTML or XML document": b"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>\n",
    "CSV file": b'"version","account_id","srcaddr"\n"2","123456789010","10.0.0.1"\n',
    "OCSF Parquet (Security Lake)": ocsf(),
    "Parquet of something else": parquet({"name": ["x"], "price": [1.0], "region": ["eu"]}),
    "text that is no flow log": b"# Notes\n\nThe flow logs start in January.\n",
    "binary data": bytes(range(256)),
}


def test_every_kind_that_can_be_named_is_in_the_table_and_has_a_case() -> None:
    cells = " ".join(row[0] for row in table("What is not a flow log"))
    assert sorted(re.findall(r"`(.*?)`", cells)) == sorted(FOREIGN)
    named = {kind for _, kind in (*foreign.SIGNATURES, *foreign.BEGINNINGS)}
    for module in ("messages", "parquet", "foreign"):
        source = (ROOT / "flowlake" / "reading" / f"{module}.py").read_text()
        raised = " ".join(re.findall(r"NotAFlowLog\((.*?)\)(?:\n| from)", source))
        named.update(re.findall(r'"(.*?)"', raised))
        named.update(re.findall(r'^ +return "(.*?)"$', source, re.MULTILINE))
    assert named - {"class_uid"} == set(FOREIGN)


def test_what_is_no_flow_log_is_skipped_and_named(tmp_path: Path) -> None:
    for number, body in enumerate(FOREIGN.values()):
        put(tmp_path, f"{number:03d}", body)
    put(tmp_path, "flows", lines(*DEFAULT))
    done = convert(tmp_path, "--strict")
    assert done.exit_code == 0, done.output
    assert f"{len(FOREIGN)} objects skipped: " in done.stdout
    assert "0 lines rejected" in done.stdout
    lake = lake_of(tmp_path)
    skipped = lake.objects().filter(pl.col("state") == "skipped").sort("url")
    assert skipped["shape"].to_list() == list(FOREIGN)
    assert skipped.select(pl.sum("rows", "lines", "rejected")).row(0) == (0, 0, 0)
    assert lake.rejects().is_empty()
    assert lake.flows().select(pl.len()).collect().item() == 2
    found = verify(lake=tmp_path / "lake", grace=timedelta(0))
    assert found.gaps.is_empty()
    assert "Nothing new" in convert(tmp_path).stdout


def test_under_the_name_of_a_flow_log_it_is_unreadable(tmp_path: Path) -> None:
    for number, body in enumerate(FOREIGN.values()):
        put(tmp_path, f"{NAMES[0][:-3]}{number:03d}.log.gz", body)
    done = convert(tmp_path)
    assert done.exit_code == 1
    assert "skipped" not in done.output
    lake = lake_of(tmp_path)
    assert set(lake.objects()["state"]) == {"unreadable"}
    reasons = lake.rejects().sort("url")["reason"].to_list()
    assert reasons == [f"it is named as a flow log, and holds: {kind}" for kind in FOREIGN]


def test_nothing_in_it_is_a_flow_log_without_records(tmp_path: Path) -> None:
    put(tmp_path, "empty", b"")
    put(tmp_path, "empty.gz", gzip.compress(b""))
    assert convert(tmp_path).exit_code == 0
    assert lake_of(tmp_path).objects().select("state", "lines").rows() == [("converted", 0)] * 2


# --- Unknown fields -----------------------------------------------------------------------------


def test_fields_that_nobody_knows_yet_are_kept_as_text(tmp_path: Path) -> None:
    put(
        tmp_path,
        "header",
        lines("bytes start end tomorrows-field", "7 1768428000 1768428055 a%20b"),
    )
    put(tmp_path, "parquet", parquet({"srcaddr": ["-"], "bytes": [8], "tomorrows_field": [12]}))
    put(tmp_path, "given", lines("eni-1 9 1768428000 - REJECT"))
    given = "interface-id bytes start tomorrows-field action"
    assert convert(tmp_path, "--fields", given).exit_code == 0
    flows = lake_of(tmp_path).flows().select("bytes", "tomorrows_field").collect()
    assert sorted(flows.rows()) == [(7, "a%20b"), (8, "12"), (9, None)]
