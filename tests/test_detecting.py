"""By its content an object is told: its shape, its format, or what it is instead."""

import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowlake.errors import NotAFlowLog, ObjectUnreadable, UsageError
from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT
from flowlake.reading import Batch, Format, RawObject, compression, parse_format, read_object

WHEN = datetime(2026, 1, 14, 22, 0, tzinfo=UTC)
LINE = "2 123456789010 eni-1 10.0.0.1 10.0.0.2 80 49152 6 3 180 1768428000 1768428060 ACCEPT OK"
NODATA = "2 123456789010 eni-1 - - - - - - - 1768428000 1768428060 - NODATA"


def read(body: bytes, formats: tuple[Format, ...] = (), flow_log_id: str | None = None) -> Batch:
    """All of an object in one batch."""
    raw = RawObject(1, "x", "e", len(body), WHEN, "s", flow_log_id=flow_log_id)
    batches = list(read_object(raw, body, formats))
    [shape] = {batch.shape for batch in batches}
    return Batch(
        pl.concat([batch.flows for batch in batches], how="diagonal"),
        pl.concat([batch.rejects for batch in batches]),
        sum(batch.lines for batch in batches),
        next((batch.fields for batch in batches if batch.fields), ()),
        shape,
    )


def events(*messages: str, kind: str = "DATA_MESSAGE") -> str:
    """What a subscription delivers of a log group (CloudWatch Logs User Guide)."""
    return json.dumps(
        {
            "messageType": kind,
            "owner": "123456789010",
            "logGroup": "vpc-flow-logs",
            "logStream": "eni-1-all",
            "subscriptionFilters": ["all"],
            "logEvents": [
                {"id": str(number), "timestamp": 1768428000000, "message": message}
                for number, message in enumerate(messages)
            ],
        }
    )


CONTROL = events("CWL CONTROL MESSAGE: Checking health of destination.", kind="CONTROL_MESSAGE")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (f"{LINE}\n{NODATA}\n", "text"),
        (f"\ufeff{' '.join(DEFAULT_FORMAT)}\r\n{LINE}\r\n{NODATA}", "text"),
        (f"2026-01-14T22:00:00.000Z {LINE}\n2026-01-14T22:00:00.000Z {NODATA}\n", "export"),
        (f"\n2026-01-14T22:00:00Z {LINE}\n2026-01-14T22:00:00Z\t{NODATA}", "export"),
        (CONTROL + events(LINE) + events(NODATA), "subscription"),
        (f"[{events(LINE, NODATA)}]", "subscription"),
        (json.dumps({"message": LINE}) + json.dumps({"message": NODATA + "\n"}), "messages"),
        (f'{{"message" : "{LINE}"}}\n\n {{ "message":"{NODATA}"}}\n', "messages"),
        (json.dumps({"events": [{"message": LINE}, {"message": NODATA}]}, indent=4), "events"),
    ],
)
def test_each_shape_gives_its_records(text: str, shape: str, pack: Any) -> None:
    found = read(pack(text.encode()))
    assert (found.shape, found.lines, found.rejects.height) == (shape, 2, 0)
    assert found.fields == DEFAULT_FORMAT
    assert found.flows["bytes"].to_list() == [180, None]
    assert found.flows["log_status"].cast(pl.String).to_list() == ["OK", "NODATA"]
    assert found.flows["start_time"].to_list() == [WHEN, WHEN]


def test_gzip_in_gzip_as_firehose_delivers_it() -> None:
    inner = gzip.compress(CONTROL.encode()) + gzip.compress(events(LINE).encode())
    assert read(gzip.compress(inner)).lines == 1
    deep = gzip.compress(gzip.compress(inner))
    assert read(deep).lines == 1
    deep = gzip.compress(deep)
    with pytest.raises(ObjectUnreadable, match="without end"):
        read(deep)


def test_gzip_in_gzip_that_grows_without_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "NESTED_MOST", 1000)
    body = gzip.compress(b"\x1f\x8b" + bytes(range(256)) * 8)
    with pytest.raises(ObjectUnreadable, match="more than 1,000 bytes"):
        compression.inflated(body, 300)


def test_what_is_no_message_is_a_reject_and_the_rest_is_read() -> None:
    good = json.dumps({"message": LINE})
    body = good + '{"message": "cut' + "\n" + good + '{"other": 1}' + '{"mess' + good + "[3]"
    found = read(body.encode())
    assert found.lines == 7
    assert found.flows.height == 3
    assert found.rejects.rows() == [
        (2, "not JSON", '{"message": "cut'),
        (4, "no message in it", '{"other": 1}'),
        (5, "not JSON", '{"mess'),
        (7, "no message in it", "3"),
    ]
    found = read((good + ' 12 "x" ' + good).encode() + b"\xc3")
    assert found.flows.height == 2
    assert found.rejects.rows() == [(2, "not JSON", '12 "x" '), (4, "not JSON", "\\xc3")]


def test_a_message_is_one_record_whatever_is_in_it() -> None:
    found = read(events(LINE, f"{LINE}\n{LINE}", "half a record", "", "\ud800 x", LINE).encode())
    assert found.flows.height == 2
    assert found.rejects["line_number"].to_list() == [2, 3, 5]
    assert found.lines == 5, "an empty message is no record"


def test_control_messages_alone_are_a_flow_log_without_records() -> None:
    found = read(CONTROL.encode())
    assert (found.shape, found.lines, found.flows.height) == ("subscription", 0, 0)
    assert read(b"[]").lines == 0


def test_json_longer_than_a_chunk_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "".join(events(LINE, NODATA) for _ in range(40)).encode()
    monkeypatch.setattr("flowlake.reading.messages.CHUNK", 2_000)

    inflated = compression.inflated
    monkeypatch.setattr("flowlake.reading.inflated", lambda body, _: inflated(body, 700))
    found = read(gzip.compress(whole))
    assert (found.lines, found.flows.height) == (80, 80)


def test_a_document_longer_than_a_chunk_is_a_counted_reject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flowlake.reading.messages.CHUNK", 2_000)
    inflated = compression.inflated
    monkeypatch.setattr("flowlake.reading.inflated", lambda body, _: inflated(body, 700))
    body = events(LINE) + '{"message":"' + "x" * 9_000 + '"}' + events(LINE)
    found = read(body.encode())
    assert found.flows.height == 2
    assert found.rejects.height == found.lines - 2 >= 1
    assert found.rejects["reason"][0] == "not JSON", "nobody waited for its end"


# --- Which format -------------------------------------------------------------------------------

CUSTOM = "eni-1 10.0.0.5 203.0.113.9 443 6 1768428000 1768428055 ACCEPT OK\n"
CUSTOM_FORMAT = "interface-id srcaddr dstaddr dstport protocol start end action log-status"


def test_a_given_format_may_be_spelled_as_a_log_format() -> None:
    spelled = " ".join(f"${{{name}}}" for name in CUSTOM_FORMAT.split())
    assert parse_format(spelled) == parse_format(CUSTOM_FORMAT)
    assert [field.name for field in parse_format("Version, ACCOUNT_ID,x-new")] == [
        *("version", "account-id", "x-new")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "names no field"), ("a b c", "names no field"), ("bytes start bytes", "twice")],
)
def test_a_format_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_format(text)


def test_records_without_a_header_take_the_format_that_fits() -> None:
    given = (
        parse_format("srcaddr dstaddr bytes"),
        parse_format("interface-id srcaddr dstaddr dstport start end protocol action log-status"),
        parse_format(CUSTOM_FORMAT),
    )
    assert read(CUSTOM.encode() * 3, given).fields == tuple(CUSTOM_FORMAT.split())
    assert read(f"{LINE}\n".encode(), given).fields == DEFAULT_FORMAT
    stamped = f"2026-01-14T22:00:00.123Z {CUSTOM}" * 2
    assert read(stamped.encode(), given).flows["dstport"].to_list() == [443, 443]
    assert read(events(CUSTOM, CUSTOM).encode(), given).lines == 2


def test_records_without_a_header_may_have_milliseconds_and_missing_numbers() -> None:
    given = (parse_format("srcaddr start"),)
    for start in (b"-", b"1768428000123", b"253402300799999"):
        assert read(b"10.0.0.1 " + start, given).flows.height == 1
    for start in (b"253402300800000", b"9" * 5000):
        with pytest.raises(NotAFlowLog):
            read(b"10.0.0.1 " + start, given)


def test_records_without_a_header_may_have_the_least_number() -> None:
    assert read(b"10.0.0.1 0", (parse_format("srcaddr protocol"),)).flows.height == 1


def test_a_header_counts_more_than_a_given_format() -> None:
    body = b"dstaddr srcaddr bytes\n10.0.0.1 10.0.0.2 7\n"
    found = read(body, (parse_format("srcaddr dstaddr bytes"),))
    assert found.flows.select(pl.col("dstaddr").cast(pl.String)).item() == "10.0.0.1"


def test_given_formats_come_before_aws_own_of_the_same_width() -> None:
    swapped = "version account-id interface-id dstaddr srcaddr " + " ".join(DEFAULT_FORMAT[5:])
    found = read(LINE.encode(), (parse_format(swapped),))
    assert found.flows["dstaddr"].cast(pl.String).to_list() == ["10.0.0.1"]


def test_a_log_status_tells_formats_of_one_width_apart() -> None:
    given = (parse_format("srcaddr srcport log-status"), parse_format("srcaddr srcport action"))
    assert read(b"10.0.0.1 - ACCEPT\n", given).fields == ("srcaddr", "srcport", "action")
    assert read(b"10.0.0.1 - OK\n", given).fields == ("srcaddr", "srcport", "log-status")


def test_a_header_is_looked_for_in_the_first_twenty_lines() -> None:
    header = f"{' '.join(DEFAULT_FORMAT)}\n{LINE}\n"
    found = read(("What this is.\n\n" * 19 + header).encode())
    assert (found.flows.height, found.rejects.height) == (1, 19)
    with pytest.raises(NotAFlowLog):
        read(("What this is.\n\n" * 20 + header).encode())


def test_a_header_of_unknown_fields_has_records_of_its_width_below() -> None:
    found = read(b"version tomorrow overmorrow srcaddr later\n2 a b 10.0.0.1 c\n")
    assert found.flows["version"].to_list() == [2]


def test_a_transit_gateway_s_default_format_is_known() -> None:
    tokens = ["-"] * len(TRANSIT_GATEWAY_FORMAT)
    tokens[0], tokens[1], tokens[25] = "6", "TransitGateway", "NODATA"
    assert TRANSIT_GATEWAY_FORMAT[25] == "log-status"
    found = read(" ".join(tokens).encode())
    assert found.fields == TRANSIT_GATEWAY_FORMAT
    assert found.flows["resource_type"].cast(pl.String).to_list() == ["TransitGateway"]


def test_records_of_an_unknown_format_ask_for_it() -> None:
    for body in (CUSTOM, f"2026-01-14T22:00:00Z {CUSTOM}", events(CUSTOM.strip())):
        with pytest.raises(ObjectUnreadable, match=r"records of 9 fields .* --fields") as error:
            read(body.encode())
        assert not isinstance(error.value, NotAFlowLog)
    with pytest.raises(ObjectUnreadable, match=r"records of 2 to 9 fields without"):
        read(f"{CUSTOM}eni-0abc OK\n".encode())


# --- What is no flow log ------------------------------------------------------------------------


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


FOREIGN: dict[str, bytes] = {
    "CloudTrail log": b'{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"Root"}}]}',
    "PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "JSON without flow log records": b'{"a": [1, 2, 3]}\n{"b": 2}\n',
    "JSON with messages that are no flow log records": events("START RequestId: 1", "END").encode(),
    "HTML or XML document": b"<html><body>403 Forbidden</body></html>",
    "text that is no flow log": b"the start of the protocol\nand its end, in some more words\n",
    "CloudWatch Logs export of no flow log": b"2026-01-14T22:00:00.000Z START RequestId: 1\n",
    "CloudWatch Logs write test": b"Permission Check Successful",
    "Parquet of something else": parquet({"a": [1], "b": [2]}),
    "OCSF Parquet (Security Lake)": parquet({"class_uid": [4001], "time": [1], "region": ["x"]}),
    "binary data": bytes(range(256)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_flow_log_is_named(kind: str) -> None:
    with pytest.raises(NotAFlowLog) as skipped:
        read(FOREIGN[kind])
    assert str(skipped.value) == kind
    with pytest.raises(ObjectUnreadable, match="it is named as a flow log, and holds") as error:
        read(FOREIGN[kind], flow_log_id="fl-1")
    assert not isinstance(error.value, NotAFlowLog)


@pytest.mark.parametrize(
    "body",
    [
        b'{"message": 7}',
        b'{"other": 7}{"message": "cut',
        b'{"other": "cut',
        b"10.0.0.1 ACCEPT\nand a line without a word of a record\n",
    ],
)
def test_what_only_looks_like_a_flow_log_is_skipped(body: bytes) -> None:
    with pytest.raises(NotAFlowLog):
        read(body)


@pytest.mark.parametrize(
    "body", [b"", b"\n \n", gzip.compress(b"", mtime=1)], ids=["", "blank", "gzip"]
)
def test_nothing_is_no_error(body: bytes) -> None:
    raw = RawObject(1, "x", "e", len(body), WHEN, "s")
    assert list(read_object(raw, body)) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"messageType":"DATA_MESS', "cut off or damaged"),
        (b'[{"message": "2 1234', "cut off or damaged"),
        (b"PAR1 and no footer", "Parquet footer cannot be read"),
        (parquet({"srcaddr": ["-"], "dstaddr": ["-"], "x": [[1]]}), "its column x is list"),
        (parquet({"srcaddr": ["-"], "dstaddr": ["-"], "SrcAddr": ["-"]}), "the same field"),
    ],
    ids=["json", "array", "footer", "nested", "twice"],
)
def test_a_damaged_flow_log_is_unreadable(body: bytes, message: str) -> None:
    with pytest.raises(ObjectUnreadable, match=message) as error:
        read(body)
    assert not isinstance(error.value, NotAFlowLog)


# --- Parquet ------------------------------------------------------------------------------------


def test_parquet_of_other_writers_keeps_every_value_or_rejects_it() -> None:
    found = read(
        parquet(
            {
                "account_id": pa.array([123456789, None, 123456789012, 7], pa.int64()),
                "srcaddr": ["10.0.0.1", "-", None, "2001:db8::1"],
                "dstaddr": pa.array([b"10.0.0.2", b"-", None, b"::1"], pa.binary()),
                "srcport": ["80", "None", "", "65536"],
                "bytes": pa.array([2**63 - 1, 2**63, None, 5], pa.uint64()),
                "packets": pa.array([3.0, 1.0, float("nan"), 2.5]),
                "start": pa.array([WHEN, None, WHEN, WHEN], pa.timestamp("ns", "Europe/Paris")),
                "end": pa.array([1768428000, 1768428000000, None, -1], pa.int64()),
                "x_new": pa.array([1, None, 2, 3], pa.int16()),
            },
            row_group_size=3,
        )
    )
    assert found.flows.select(pl.all().cast(pl.String)).select(
        *("account_id", "srcaddr", "dstaddr", "srcport", "bytes", "packets", "x_new")
    ).rows() == [
        ("000123456789", "10.0.0.1", "10.0.0.2", "80", str(2**63 - 1), "3", "1"),
        ("123456789012", None, None, None, None, None, "2"),
    ]
    assert found.flows["start_time"].to_list() == [WHEN, WHEN]
    assert found.flows["end_time"].to_list() == [WHEN, None]
    assert found.rejects.rows() == [
        (
            2,
            f"bytes '{2**63}' is out of range",
            f"- - - None {2**63} 1.0 - 1768428000000 -",
        ),
        (
            4,
            "srcport '65536' is out of range",
            "7 2001:db8::1 ::1 65536 5 2.5 1768428000000000000 -1 3",
        ),
    ]
    assert found.lines == 4


def test_parquet_s_own_words_for_a_missing_number() -> None:
    words = ["-", "None", "null", "NULL", "nan", "NaN", "", None]
    found = read(parquet({"srcaddr": ["10.0.0.1"] * 8, "srcport": words}))
    assert found.flows["srcport"].to_list() == [None] * 8


def test_parquet_text_that_is_not_utf_8_is_a_reject() -> None:
    texts = [b"10.0.0.1", b"\xff", None, b"\\xff"]
    found = read(parquet({"srcaddr": texts, "bytes": [1, 2, 3, 4]}))
    assert found.flows["srcaddr"].cast(pl.String).to_list() == ["10.0.0.1", None, "\\xff"]
    assert found.rejects.rows() == [(2, "srcaddr is not UTF-8 text", "\\xff 2")]


def test_parquet_with_both_addresses_is_a_flow_log_whatever_else_it_has() -> None:
    others = {f"x{number}": [number] for number in range(5)}
    found = read(parquet({"srcaddr": ["10.0.0.1"], "dstaddr": ["10.0.0.2"], **others}))
    assert found.flows.height == 1
    with pytest.raises(NotAFlowLog):
        read(parquet({"srcaddr": ["10.0.0.1"], **others}))


def test_parquet_has_dates_times_and_numbers_of_many_types() -> None:
    day, none = WHEN.date(), pa.nulls(1)
    columns: dict[str, Any] = {
        "start": pa.array([day], pa.date32()),
        "end": pa.array([day], pa.date64()),
        "bytes": pa.array([Decimal("5.0")]),
        "packets": none,
        "srcaddr": none,
        "x_day": pa.array([day], pa.date32()),
        "x_time": pa.array([WHEN.time()], pa.time64("us")),
        "x_flag": [True],
    }
    row = read(parquet(columns)).flows.cast({pl.Categorical: pl.String}).row(0, named=True)
    midnight = datetime(2026, 1, 14, tzinfo=UTC)
    assert (row["start_time"], row["end_time"], row["bytes"]) == (midnight, midnight, 5)
    assert (row["packets"], row["srcaddr"]) == (None, None)
    assert row["x_day"] == "2026-01-14"
    assert row["x_time"].startswith("22:00:00")
    assert row["x_flag"] == "true"
    half = read(parquet(columns | {"bytes": pa.array([Decimal("5.5")])}))
    assert half.rejects["reason"].to_list() == ["bytes '5.5' is not a whole number"]
    for name in ("x_day", "x_time", "x_flag"):
        with pytest.raises(ObjectUnreadable, match=r"its column bytes is .*, not int64"):
            read(parquet(columns | {"bytes": columns[name]}))


@pytest.mark.parametrize(("unit", "each"), [("ms", 10**3), ("us", 10**6)])
def test_parquet_times_end_with_the_year_9999(unit: str, each: int) -> None:
    last = 253_402_300_800 * each - 1
    times = pa.array([0, -1, last, last + 1, None], pa.timestamp(unit, "UTC"))
    body = parquet({"srcaddr": ["10.0.0.1"] * 5, "start": times})
    for packed in (body, gzip.compress(body)):
        found = read(packed)
        years = [each and each.year for each in found.flows["start_time"]]
        assert years == [1970, 9999, None]
        assert found.rejects["reason"].to_list() == [
            "start -1 is out of range",
            f"start {last + 1} is out of range",
        ]


def test_parquet_rows_are_numbered_over_pieces_and_row_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flowlake.reading.parquet.ROWS", 2)
    ports = ["1", "2", "3", "x", "5", "6", "7", "8", "y", "10"]
    found = read(parquet({"srcaddr": ["10.0.0.1"] * 10, "srcport": ports}, row_group_size=5))
    assert found.flows["srcport"].to_list() == [1, 2, 3, 5, 6, 7, 8, 10]
    assert found.rejects.select("line_number", "text").rows() == [
        (4, "10.0.0.1 x"),
        (9, "10.0.0.1 y"),
    ]


@pytest.mark.parametrize("rows", [200, 250_000])
def test_a_row_group_that_cannot_be_read_is_counted(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowlake.reading.parquet.ROWS", rows)
    count = 1_000
    body = bytearray(
        parquet(
            {
                "srcaddr": [f"10.0.{n >> 8}.{n & 255}" for n in range(count)],
                "dstaddr": ["10.0.0.1"] * count,
            },
            row_group_size=500,
            compression="gzip",
            use_dictionary=False,
        )
    )
    second = pq.ParquetFile(io.BytesIO(bytes(body))).metadata.row_group(1).column(0)
    at = second.data_page_offset + second.total_compressed_size // 2
    body[at : at + 40] = bytes(40)
    found = read(bytes(body))
    assert found.lines == count
    assert found.flows.height == 500
    assert found.rejects["line_number"].to_list() == list(range(501, 1001))
    assert found.rejects["reason"].str.starts_with("row group 1 cannot be read").all()
