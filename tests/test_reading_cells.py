"""Cells, rejects and dates worked out by hand: what single records must become."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from flowlake.fields import BY_NAME, TRANSIT_GATEWAY_FORMAT
from flowlake.reading import RawObject, read_object
from flowlake.reading.compression import line_chunks
from flowlake.reading.text import read_text
from flowlake.reading.values import LONGEST_REJECT
from tests.test_reading import DEFAULT, GOOD, HEADER, NODATA, RECORDS, YEAR_10000, read

# --- Real records, cells worked out by hand ---------------------------------------------------


def test_real_records_of_version_5_and_a_bogus_line() -> None:
    found = read((RECORDS / "flowlogs-reader-v5.log").read_bytes())
    assert found.wrong == [4]
    first, second = found.rows
    assert first["account_id"] == "999999999999"
    assert first["srcaddr"] == "198.51.100.7"
    assert first["pkt_srcaddr"] == "198.51.100.6"
    assert (first["bytes"], first["packets"], first["srcport"]) == (4895, 15, 443)
    assert first["start_time"] == datetime(2021, 3, 4, 14, 1, 33, tzinfo=UTC)
    assert first["end_time"] == datetime(2021, 3, 4, 14, 1, 51, tzinfo=UTC)
    assert (first["traffic_path"], second["traffic_path"]) == (None, 7)
    assert (first["tcp_flags"], second["flow_direction"]) == (19, "egress")


def test_real_records_of_other_versions() -> None:
    v2 = read((RECORDS / "ktranslate-v2.log").read_bytes()).rows
    assert len(v2) == 6
    assert v2[0]["bytes"] == 39_574_687
    assert v2[2]["action"] == "REJECT"
    assert v2[5]["start_time"] == datetime(2019, 10, 14, 19, 36, 10, tzinfo=UTC)
    [v3] = read((RECORDS / "ktranslate-v3.log").read_bytes()).rows
    assert (v3["account_id"], v3["instance_id"]) == ("047615872826", None)
    assert (v3["bytes"], v3["packets"], v3["tcp_flags"]) == (120, 2, 2)
    v4 = read((RECORDS / "flowlogs-reader-v4.log").read_bytes()).rows
    assert [row["sublocation_type"] for row in v4] == ["wavelength", "outpost"]
    [v6] = read((RECORDS / "flowlogs-reader-v6.log").read_bytes()).rows
    assert (v6["tgw_id"], v6["packets_lost_no_route"]) == ("00000000", 13)
    assert v6["packets_lost_ttl_expired"] == 16


# --- Cells and rejects --------------------------------------------------------------------------


def test_cells() -> None:
    [row, nodata] = read(DEFAULT + NODATA).rows
    assert row["account_id"] == "123456789010"
    assert (row["srcport"], row["bytes"], row["protocol"]) == (80, 180, 6)
    assert row["start_time"] == datetime(2014, 12, 14, 4, 6, 50, tzinfo=UTC)
    assert nodata["log_status"] == "NODATA"
    assert [nodata[name] for name in ("srcaddr", "srcport", "bytes", "action")] == [None] * 4
    [row] = read(b"tomorrow bytes\n00 1\n").rows
    assert row == {"tomorrow": "00", "bytes": 1}


def test_milliseconds_are_kept() -> None:
    [row] = read(b"start bytes\n1616729292123 5\n").rows
    assert row["start_time"] == datetime(2021, 3, 26, 3, 28, 12, 123_000, tzinfo=UTC)


def test_rejects_say_where_why_and_what() -> None:
    text = HEADER + b"\n" + GOOD + b"a b\r\n1 x 5 OK\n1 99999999999999999999 5 OK\n1 5 5 \xff\n"
    text += b"1 5 5 \0\n../x 5 5 OK\n" + b"y" * 9000 + b"\n"
    [batch] = read_text(line_chunks(text))
    assert batch.rejects.rows() == [
        (4, "2 fields, not the format's 4", "a b"),
        (5, "bytes 'x' is not a whole number", "1 x 5 OK"),
        (6, "bytes '99999999999999999999' is out of range", "1 99999999999999999999 5 OK"),
        (7, "not UTF-8 text", "1 5 5 \\xff"),
        (8, "a control character in it", "1 5 5 \0"),
        (9, "account-id '../x' is no account-id", "../x 5 5 OK"),
        (10, "1 fields, not the format's 4", "y" * LONGEST_REJECT),
    ]
    [above, rest] = read_text(line_chunks(GOOD + HEADER + GOOD))
    assert above.rejects.rows() == [(1, "stands above the header", GOOD[:-1].decode())]
    assert rest.flows.height == 1


def test_columns_and_types_follow_the_header() -> None:
    header = " ".join(TRANSIT_GATEWAY_FORMAT).encode() + b"\n"
    [batch] = read_text(line_chunks(header))
    assert batch.fields == TRANSIT_GATEWAY_FORMAT
    assert batch.flows.columns == [BY_NAME[name].column for name in TRANSIT_GATEWAY_FORMAT]
    assert batch.flows.schema["start_time"] == pl.Datetime("us", "UTC")
    assert batch.flows.schema["protocol"] == pl.Int32
    assert batch.flows.schema["account_id"] == pl.Categorical


# --- What the object's name adds ----------------------------------------------------------------


def named(**known: Any) -> RawObject:
    return RawObject(7, "/x", "e", 1, datetime(2026, 5, 6, 23, 59, tzinfo=UTC), "/", **known)


SLOT = datetime(2021, 3, 26, 3, 25, tzinfo=UTC)


def test_account_and_region_come_from_the_record_else_the_name_else_are_unknown() -> None:
    text = b"account-id start\n000123456789 1616729292\n- 1616729292\n"
    raw = named(account_id="111111111111", region="eu-west-1", flow_log_id="fl-1", slot=SLOT)
    [batch] = read_object(raw, text)
    rows = batch.flows.cast({pl.Categorical: pl.String})
    assert rows["account_id"].to_list() == ["000123456789", "111111111111"]
    assert rows["region"].to_list() == ["eu-west-1"] * 2
    assert rows["flow_log_id"].to_list() == ["fl-1"] * 2
    assert rows["object_id"].to_list() == [7, 7]
    [batch] = read_object(named(), text)
    rows = batch.flows.cast({pl.Categorical: pl.String})
    assert rows["account_id"].to_list() == ["000123456789", "unknown"]
    assert rows["region"].to_list() == ["unknown"] * 2
    assert rows["flow_log_id"].to_list() == [None, None]


def test_an_object_longer_than_a_chunk_is_read_in_batches() -> None:
    batches = list(read_object(named(), HEADER + GOOD * 50, chunk=400))
    assert len(batches) > 3
    assert sum(batch.flows.height for batch in batches) == 50


DAY = 86_400
AT = 1_616_729_292  # 2021-03-26 03:28:12 UTC


@pytest.mark.parametrize(
    ("text", "date", "far"),
    [
        (f"start end\n{AT} {AT + DAY}\n", "2021-03-26", 0),
        (f"start end\n- {AT + DAY}\n", "2021-03-27", 0),
        ("start end\n- -\n", "2021-03-26", 0),
        ("bytes\n5\n", "2021-03-26", 0),
        (f"start\n{AT - 7 * DAY}\n", "2021-03-19", 0),
        (f"start\n{AT + 7 * DAY}\n", "2021-04-02", 0),
        (f"start\n{AT - 8 * DAY}\n", "2021-03-26", 1),
        (f"start\n{AT + 8 * DAY}\n", "2021-03-26", 1),
        ("start\n0\n", "2021-03-26", 1),
        (f"start\n{AT}123\n", "2021-03-26", 0),
        (f"start\n{YEAR_10000 - 1}\n", "2021-03-26", 1),
    ],
)
def test_the_date_of_a_row(text: str, date: str, far: int) -> None:
    [batch] = read_object(named(slot=SLOT), text.encode())
    assert [str(day) for day in batch.flows["date"]] == [date]
    assert batch.misdated == far


def test_without_a_slot_a_row_keeps_its_own_date_else_takes_the_listing_s() -> None:
    [batch] = read_object(named(), f"start\n{AT}\n-\n".encode())
    assert [str(day) for day in batch.flows["date"]] == ["2021-03-26", "2026-05-06"]
    assert batch.misdated == 0
