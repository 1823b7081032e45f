"""Real records, in one bucket and through the command, held to counts and cells found by hand."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from typer.testing import CliRunner

import flowlake
from flowlake.cli import app
from flowlake.fields import BY_NAME, DEFAULT_FORMAT
from flowlake.storage import open_storage

RECORDS = Path(__file__).parent / "data" / "records"
FILES = sorted(path for path in RECORDS.iterdir() if path.name != "README.md")
SHAPES = {".log": "text", ".parquet": "parquet", ".json": "messages"}
EVENT = "ktranslate-cloudwatch-subscription-event.json"


def counted(path: Path) -> tuple[int, int]:
    """The records of a file and how many are good, without FlowLake."""
    if path.suffix == ".json":
        fields = json.loads(path.read_text())["message"].split()
        return 1, int(len(fields) == 14)
    if path.suffix == ".parquet":
        records = pq.read_table(path).to_pylist()
        good = [r for r in records if r["protocol"] == "None" or 0 <= int(r["protocol"]) <= 255]
        return len(records), len(good)
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    header = lines.pop(0) if lines[0][0].islower() else [""] * 14
    return len(lines), sum(len(line) == len(header) for line in lines)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DEFAULT_COLUMNS = [BY_NAME[name].column for name in DEFAULT_FORMAT]

CELLS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    # file: some columns, and what stands in them, by hand
    "flowlogs-reader-v2-no-header.log": (
        "log_status interface_id srcaddr protocol bytes action",
        [
            ("NODATA", "eni-1a2b3c4d", None, None, None, None),
            ("OK", "eni-102010ab", "192.0.2.1", 6, 1680, "ACCEPT"),
            ("OK", "eni-102010ab", "198.51.100.1", 6, 840, "ACCEPT"),
            ("OK", "eni-102010cd", "192.0.2.1", 6, 1680, "REJECT"),
            ("SKIPDATA", "eni-4b118871", None, None, None, None),
        ],
    ),
    "flowlogs-reader-v3.log": (
        "account_id bytes srcport pkt_srcaddr tcp_flags region start_time",
        [
            ("000000000000", 1698, 8088, "172.18.160.9", 3, "unknown", at("2019-09-12 14:59:27")),
            ("000000000000", 6392, 443, "192.168.0.1", 19, "unknown", at("2019-09-12 14:59:27")),
        ],
    ),
    "flowlogs-reader-v4.log": (
        "sublocation_type sublocation_id az_id region account_id action",
        [
            ("outpost", "outpostid04", "use1-az4", "us-east-1", "000000000000", None),
            ("wavelength", "wlid04", "use1-az4", "us-east-1", "000000000000", None),
        ],
    ),
    "flowlogs-reader-v5.log": (
        "flow_direction traffic_path pkt_src_aws_service pkt_dst_aws_service region end_time",
        [
            ("egress", 7, None, "S3", "us-east-2", at("2021-03-04 14:01:51")),
            ("ingress", None, "S3", None, "us-east-2", at("2021-03-04 14:01:51")),
        ],
    ),
    "flowlogs-reader-v6.log": (
        "resource_type tgw_id tgw_pair_attachment_id packets_lost_no_route packets_lost_ttl_expired"
        " account_id bytes start_time",
        [("TransitGateway", "00000000", "00000012", 13, 16, "unknown", None, None)],
    ),
    "flowlogs-reader-flows.parquet": (
        "log_status account_id srcaddr srcport packets bytes action start_time",
        [
            ("NODATA", "123456789010", None, None, None, None, None, at("2015-08-12 13:47:43")),
            (
                "OK",
                "123456789010",
                "198.51.100.1",
                443,
                10,
                840,
                "ACCEPT",
                at("2015-08-12 13:47:43"),
            ),
        ],
    ),
    "ktranslate-v3.log": (
        "account_id instance_id pkt_dstaddr dstport date version",
        [("047615872826", None, "18.162.196.19", 27016, date(2020, 1, 29), 3)],
    ),
    EVENT: (
        "interface_id dstaddr dstport bytes start_time region flow_log_id",
        [
            (
                *("eni-0939c7c9e1255db73", "10.236.57.28", 27068, 112),
                *(at("2019-10-14 19:36:10"), "unknown", None),
            )
        ],
    ),
}


class Converted:
    """The lake that a bucket of all the files became."""

    def __init__(self, place: str) -> None:
        storage = open_storage(place)
        for path in FILES:
            storage.put(f"{place}/raw/{path.name}", path.read_bytes())
        words = ["convert", f"{place}/raw", "--lake", f"{place}/lake"]
        self.done = CliRunner().invoke(app, words)
        self.lake = flowlake.open_lake(f"{place}/lake")
        self.flows = pl.concat(
            [self.lake.flows().collect(), self.lake.transit_gateway_flows().collect()],
            how="diagonal",
        )
        self.objects = self.lake.objects().with_columns(name=pl.col("url").str.extract(r"([^/]+)$"))

    def rows(self, name: str, columns: str) -> list[tuple[Any, ...]]:
        """Cells of a file's rows, in the order of what the first columns say."""
        object_id = self.objects.filter(pl.col("name") == name)["object_id"].item()
        flows = self.flows.filter(pl.col("object_id") == object_id)
        return sorted(flows.select(columns.split()).rows(), key=str)


def test_every_record_is_a_row_or_a_reject_with_its_values(place: str) -> None:
    converted = Converted(place)
    assert converted.done.exit_code == 0, converted.done.output
    assert "into 22 rows" in converted.done.stdout
    assert "2 lines rejected" in converted.done.stdout
    ledger = {row["name"]: row for row in converted.objects.iter_rows(named=True)}
    assert len(FILES) == len(ledger) == 9
    for path in FILES:
        row, (records, good) = ledger[path.name], counted(path)
        assert records > 0
        assert (row["lines"], row["rows"], row["rejected"]) == (records, good, records - good)
        assert (row["state"], row["shape"]) == ("converted", SHAPES[path.suffix])
    assert converted.flows.height == 22
    rejects = converted.lake.rejects().with_columns(pl.col("url").str.extract(r"([^/]+)$"))
    assert sorted(rejects.select("url", "line_number", "reason", "text").rows()) == [
        (
            "flowlogs-reader-flows.parquet",
            3,
            "protocol '8080' is out of range",
            "2 123456789010 eni-202010ab 198.51.100.7 192.0.2.156 80 100 8080 None None "
            "1439387263 1439387264 - NODATA",
        ),
        ("flowlogs-reader-v5.log", 4, "2 fields, not the format's 29", "bogus line"),
    ]
    for name, (columns, cells) in CELLS.items():
        assert converted.rows(name, columns) == cells, name
    [event] = converted.rows(EVENT, " ".join(DEFAULT_COLUMNS))
    assert event in converted.rows("ktranslate-v2.log", " ".join(DEFAULT_COLUMNS))
