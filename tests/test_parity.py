"""One question, two answers: every saved query and its Polars twin say exactly the same."""

import inspect
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowlake.analyses import ANALYSES
from flowlake.catalog import Question, catalogue_page, pair, question, questions
from flowlake.errors import LakeError
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, flows_schema
from flowlake.queries import bind, load_queries, register_protocols, run

POLARS_TYPES = {
    "VARCHAR": pl.String(),
    "INTEGER": pl.Int32(),
    "BIGINT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "TIMESTAMP WITH TIME ZONE": pl.Datetime("us", "UTC"),
}
"""What each SQL type of an answer is in Polars."""

MOVED: dict[str, list[dict[str, Any]]] = {
    "protocol_breakdown": [],
    "rejected_flows": [{"top": 3}, {"top": 0}],
    "top_talkers": [{"action": "REJECT"}, {"top": 1}, {"action": "ACCEPT", "top": 2}, {"top": 0}],
}
"""Arguments other than the defaults; each parameter moves at least once."""

EMPTY_ON_AN_ORDINARY_DAY: dict[str, str] = {}
"""Questions that rightly find nothing in ordinary traffic, each with its reason."""

# Records of the default format: a ping that the security group let in and the network ACL did
# not let out (Amazon VPC User Guide), one web request, a refused scan, a name lookup, an interface
# without traffic, and a protocol number that IANA has not given away. 6,000 bytes in all.
WORKED_OUT = """\
2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK
2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK
2 123456789010 eni-0a 10.0.0.5 10.0.0.9 49152 443 6 10 1000 1432917000 1432917060 ACCEPT OK
2 123456789010 eni-0a 10.0.0.9 10.0.0.5 443 49152 6 8 4000 1432917000 1432917060 ACCEPT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40000 22 6 1 40 1432917200 1432917201 REJECT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40001 22 6 2 80 1432917100 1432917110 REJECT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40002 3389 6 1 44 1432917300 1432917300 REJECT OK
2 123456789010 eni-0a 10.0.0.5 10.0.0.2 5353 53 17 1 64 1432917010 1432917010 ACCEPT OK
2 123456789010 eni-0b - - - - - - - 1432917000 1432917060 - NODATA
2 123456789010 eni-0a 10.0.0.5 10.0.0.9 0 0 200 1 100 1432917020 1432917020 ACCEPT OK
"""  # noqa: E501


def at(second: int) -> datetime:
    """A time of day on the day of the records above, given as Unix seconds."""
    return datetime.fromtimestamp(second, UTC)


ANSWERS: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    (
        "protocol_breakdown",
        {},
        [
            (6, "TCP", 5, 22, 5164, 5164 / 6000),
            (1, "ICMP", 2, 8, 672, 672 / 6000),
            (200, None, 1, 1, 100, 100 / 6000),
            (17, "UDP", 1, 1, 64, 64 / 6000),
        ],
    ),
    (
        "rejected_flows",
        {},
        [
            ("198.51.100.7", "10.0.0.5", 22, 6, "TCP", 2, 3, 120, at(1432917100), at(1432917201)),
            (
                *("172.31.16.139", "203.0.113.12", 0, 1, "ICMP", 1, 4, 336),
                *(at(1432917094), at(1432917142)),
            ),
            ("198.51.100.7", "10.0.0.5", 3389, 6, "TCP", 1, 1, 44, at(1432917300), at(1432917300)),
        ],
    ),
    (
        "top_talkers",
        {},
        [
            ("10.0.0.9", 4000, 8, 1),
            ("10.0.0.5", 1164, 12, 3),
            ("172.31.16.139", 336, 4, 1),
            ("203.0.113.12", 336, 4, 1),
            ("198.51.100.7", 164, 4, 3),
        ],
    ),
    (
        "top_talkers",
        {"action": "REJECT"},
        [("172.31.16.139", 336, 4, 1), ("198.51.100.7", 164, 4, 3)],
    ),
]
"""Question, arguments and rows, counted by hand from WORKED_OUT."""


def flows_of(rows: list[dict[str, Any]]) -> pa.Table:
    """A table as the lake gives it; what a row does not name is null."""
    return pa.Table.from_pylist(rows, schema=flows_schema())


def parse(text: str) -> pa.Table:
    """Default-format lines as a table, by the plainest code that could work."""
    rows = []
    for line in text.splitlines():
        row: dict[str, Any] = {}
        for name, value in zip(DEFAULT_FORMAT, line.split(), strict=True):
            field = BY_NAME[name]
            if value == "-":
                continue
            row[field.column] = value if field.type == "text" else int(value)
            if field.type == "time":
                row[field.column] = at(int(value))
        rows.append(row)
    return flows_of(rows)


def record(dice: random.Random, **fixed: Any) -> dict[str, Any]:
    """One ordinary flow of the default format."""
    second = 1768435200 + dice.randrange(86_400)
    flow = {
        "version": 2,
        "account_id": "012345678901",
        "interface_id": f"eni-{dice.randrange(5):017x}",
        "srcaddr": dice.choice(("10.0.0.", "203.0.113.", "2001:db8::")) + str(dice.randrange(30)),
        "dstaddr": f"10.0.1.{dice.randrange(9)}",
        "srcport": dice.randrange(1024, 65_536),
        "dstport": dice.choice((22, 53, 80, 443, 3389)),
        "protocol": dice.choice((1, 6, 6, 6, 17, 50, 58, 200)),
        "packets": dice.randrange(1, 1000),
        "bytes": dice.randrange(40, 1_500_000),
        "start_time": at(second),
        "end_time": at(second + dice.randrange(60)),
        "action": dice.choice(("ACCEPT", "ACCEPT", "REJECT")),
        "log_status": "OK",
    }
    return flow | fixed


SILENT = ("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "action")
"""What a NODATA or SKIPDATA record has no value for."""


def silence(dice: random.Random, status: str) -> dict[str, Any]:
    """A record that says there was nothing to record, or that it was lost."""
    return record(dice, log_status=status, **dict.fromkeys(SILENT))


@cache
def data_sets() -> dict[str, pa.Table]:
    """Every lake the two answers must agree on, from one seed."""
    dice = random.Random(20260114)
    day = [record(dice, region="us-east-1", tcp_flags=2, vpc_id="vpc-1") for _ in range(3000)]
    day += [silence(dice, status) for status in ("NODATA", "SKIPDATA") * 20]
    tie = {"bytes": 100, "packets": 1, "protocol": 6, "dstport": 22, "action": "REJECT"}
    large = {"bytes": 2**40 + 1, "packets": 2**31 - 1, "srcaddr": "10.0.0.1"}
    lone = {"account_id": "012345678901", "start_time": at(1432917000), "bytes": None}
    return {
        "ordinary_day": flows_of(day),
        "empty": flows_of([]),
        "no_traffic": flows_of([silence(dice, s) for s in ("NODATA", "SKIPDATA") * 5]),
        "all_ties": flows_of([record(dice, **tie) for _ in range(300)]),
        "large_sums": flows_of([record(dice, **large) for _ in range(200)]),
        "default_format": flows_of([record(dice) for _ in range(300)]),
        "no_bytes": flows_of([record(dice, bytes=None, packets=None) for _ in range(50)]),
        "zero_bytes": flows_of([record(dice, bytes=0) for _ in range(50)]),
        "few_fields": flows_of([lone | {"action": a} for a in ("ACCEPT", "REJECT", None) * 9]),
        "worked_out": parse(WORKED_OUT),
    }


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """A connection as the lake opens it, `flows` aside."""
    opened = duckdb.connect(":memory:")
    opened.execute("SET TimeZone = 'UTC'")
    register_protocols(opened)
    return opened


def in_sql(asked: Question, flows: pa.Table, arguments: dict[str, Any]) -> pl.DataFrame:
    """The answer of the SQL file."""
    connection().register("flows", flows)
    answer: pl.DataFrame = run(connection(), asked.query, arguments).pl()
    return answer


def in_polars(asked: Question, flows: pa.Table, arguments: dict[str, Any]) -> pl.DataFrame:
    """The answer of the Polars twin, through the same binding as the command line's."""
    frame = pl.from_arrow(flows)
    assert isinstance(frame, pl.DataFrame)
    return asked.twin(frame.lazy(), **bind(asked.query, arguments)).collect()


def same(asked: Question, flows: pa.Table, arguments: dict[str, Any]) -> pl.DataFrame:
    """Insist that both answers are the same to the last bit, and return it."""
    expected = in_sql(asked, flows, arguments)
    assert_frame_equal(in_polars(asked, flows, arguments), expected, check_exact=True)
    return expected


every_question = pytest.mark.parametrize("asked", questions(), ids=[q.name for q in questions()])
"""Run a test once for each question of the catalogue."""


def every_call() -> Iterator[Any]:
    """Each question with its defaults, then with each moved set of arguments."""
    for asked in questions():
        for arguments in ({}, *MOVED[asked.name]):
            spelled = ",".join(f"{name}={value}" for name, value in arguments.items())
            yield pytest.param(asked, arguments, id=f"{asked.name}({spelled})")


@every_question
def test_same_knobs(asked: Question) -> None:
    first, *others = inspect.signature(asked.twin).parameters.values()
    assert first.name == "flows"
    assert all(other.kind is other.KEYWORD_ONLY for other in others)
    declared = {
        p.name: inspect.Parameter.empty if p.required else p.default for p in asked.query.params
    }
    assert {other.name: other.default for other in others} == declared
    assert [other.name for other in others] == list(declared)


@every_question
def test_same_shape(asked: Question) -> None:
    flows = data_sets()["empty"]
    connection().register("flows", flows)
    relation = run(connection(), asked.query)
    returns = [(column.name, column.type) for column in asked.query.returns]
    assert list(zip(relation.columns, map(str, relation.types), strict=True)) == returns
    frame = pl.from_arrow(flows)
    assert isinstance(frame, pl.DataFrame)
    schema = asked.twin(frame.lazy(), **bind(asked.query, {})).collect_schema()
    assert list(schema.items()) == [(name, POLARS_TYPES[kind]) for name, kind in returns]


@pytest.mark.parametrize("data", list(data_sets()))
@pytest.mark.parametrize(("asked", "arguments"), list(every_call()))
def test_same_rows(asked: Question, arguments: dict[str, Any], data: str) -> None:
    same(asked, data_sets()[data], arguments)


@every_question
def test_every_parameter_is_moved_and_matters(asked: Question) -> None:
    day = data_sets()["ordinary_day"]
    usual = in_sql(asked, day, {})
    moved = {name for arguments in MOVED[asked.name] for name in arguments}
    assert moved == {param.name for param in asked.query.params}
    for arguments in MOVED[asked.name]:
        assert not in_sql(asked, day, arguments).equals(usual), arguments


@every_question
def test_not_vacuous(asked: Question) -> None:
    answer = in_sql(asked, data_sets()["ordinary_day"], {})
    assert answer.is_empty() == (asked.name in EMPTY_ON_AN_ORDINARY_DAY)


SPOILED: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "one byte more": lambda answer: answer.with_columns(pl.col("bytes") + 1),
    "a row lost": lambda answer: answer.slice(1),
    "upside down": lambda answer: answer.reverse(),
    "columns swapped": lambda answer: answer.select(answer.collect_schema().names()[::-1]),
    "narrow count": lambda answer: answer.with_columns(pl.col("flows").cast(pl.UInt32)),
}
"""Ways for a twin to be wrong, each of which the comparison must see."""


@pytest.mark.parametrize("spoil", list(SPOILED.values()), ids=list(SPOILED))
@every_question
def test_not_blind(asked: Question, spoil: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
    def wrong(flows: pl.LazyFrame, **arguments: Any) -> pl.LazyFrame:
        return spoil(asked.twin(flows, **arguments))

    with pytest.raises(AssertionError):
        same(Question(asked.query, wrong), data_sets()["ordinary_day"], {})


@pytest.mark.parametrize(("name", "arguments", "rows"), ANSWERS)
def test_right(name: str, arguments: dict[str, Any], rows: list[tuple[Any, ...]]) -> None:
    assert same(question(name), data_sets()["worked_out"], arguments).rows() == rows


def test_every_question_has_a_worked_out_answer() -> None:
    assert {name for name, _, _ in ANSWERS} == {asked.name for asked in questions()}


def test_sums_pass_32_bits() -> None:
    answer = same(question("top_talkers"), data_sets()["large_sums"], {})
    assert answer.row(0) == ("10.0.0.1", 200 * (2**40 + 1), 200 * (2**31 - 1), 200)


def test_no_bytes_means_no_share() -> None:
    for data in ("no_bytes", "zero_bytes"):
        answer = same(question("protocol_breakdown"), data_sets()[data], {})
        assert set(answer["share_of_bytes"]) == {None}, data


def test_documented() -> None:
    page = Path(__file__).parent.parent / "queries" / "README.md"
    assert page.read_text(encoding="utf-8") == catalogue_page(), "run make docs"


def test_a_name_without_its_twin_raises() -> None:
    with pytest.raises(LakeError, match=r"top_talkers\.sql:1: no Polars function"):
        pair(load_queries(), ANALYSES[:-1])
    with pytest.raises(LakeError, match="No query file for the Polars function top_talkers"):
        pair(load_queries()[:-1], ANALYSES)
    with pytest.raises(LakeError, match="Two Polars functions"):
        pair(load_queries(), (*ANALYSES, lambda top: top, lambda top: top))


ADDRESSES = st.sampled_from(
    [None, "10.0.0.1", "10.0.0.10", "10.0.0.2", "::1", "\ufffd", "\U0001f600"]
)
COUNTERS = st.one_of(st.none(), st.integers(0, 9), st.integers(0, 2**57))
SECONDS = st.one_of(st.none(), st.integers(0, 253_402_300_799).map(at))
RECORDS = st.fixed_dictionaries(
    {
        "srcaddr": ADDRESSES,
        "dstaddr": ADDRESSES,
        "dstport": st.sampled_from([None, 0, 22, 65_535]),
        "protocol": st.sampled_from([None, 0, 1, 6, 17, 200, 255]),
        "packets": COUNTERS,
        "bytes": COUNTERS,
        "start_time": SECONDS,
        "end_time": SECONDS,
        "action": st.sampled_from([None, "ACCEPT", "REJECT", "-"]),
    }
)


@every_question
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), rows=st.lists(RECORDS, max_size=30))
def test_same_on_any_flows(
    asked: Question, data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    choices: dict[str, st.SearchStrategy[Any]] = {
        "top": st.integers(0, 40),
        "action": st.sampled_from([None, "ACCEPT", "REJECT", "drop"]),
    }
    arguments = {p.name: data.draw(choices[p.name], label=p.name) for p in asked.query.params}
    same(asked, flows_of(rows), arguments)
