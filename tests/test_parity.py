"""One question, two answers: every saved query and its Polars twin say exactly the same."""

import inspect
import itertools
from collections.abc import Callable, Iterator
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
from flowlake.queries import bind, equip, load_queries, run
from tests.answers import Answer, cost, flows_of, quality, reach, refusals, talkers, traffic
from tests.answers.data import CHOICES, PRICE, RECORDS, data_sets, history

POLARS_TYPES = {
    "VARCHAR": pl.String(),
    "INTEGER": pl.Int32(),
    "BIGINT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP WITH TIME ZONE": pl.Datetime("us", "UTC"),
}
"""What each SQL type of an answer is in Polars."""

ROOMS = (traffic, talkers, refusals, reach, cost, quality)
MOVED: dict[str, list[dict[str, Any]]] = {
    name: calls for room in ROOMS for name, calls in room.MOVED.items()
}
"""Arguments other than the defaults; each parameter moves at least once."""

ANSWERS: list[Answer] = [answer for room in ROOMS for answer in room.ANSWERS]


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """A connection as the lake opens it, `flows` aside."""
    opened = duckdb.connect(":memory:")
    opened.execute("SET TimeZone = 'UTC'")
    equip(opened)
    return opened


def in_sql(
    asked: Question, flows: pa.Table, arguments: dict[str, Any], before: pa.Table = None
) -> pl.DataFrame:
    """The answer of the SQL file."""
    connection().register("flows", flows)
    connection().register("history", flows_of([]) if before is None else before)
    answer: pl.DataFrame = run(connection(), asked.query, arguments).pl()
    return answer


def in_polars(
    asked: Question, flows: pa.Table, arguments: dict[str, Any], before: pa.Table = None
) -> pl.DataFrame:
    """The answer of the Polars twin, through the same binding as the command line's."""
    frames = [flows] + [flows_of([]) if before is None else before] * bool(asked.query.history)
    lazy = [pl.DataFrame(frame).lazy() for frame in frames]
    return asked.twin(*lazy, **bind(asked.query, arguments)).collect()


def same(
    asked: Question, flows: pa.Table, arguments: dict[str, Any], before: pa.Table = None
) -> pl.DataFrame:
    """Insist that both answers are the same to the last bit, and return it."""
    expected = in_sql(asked, flows, arguments, before)
    found = in_polars(asked, flows, arguments, before)
    assert_frame_equal(found, expected, check_exact=True)
    return expected


every_question = pytest.mark.parametrize("asked", questions(), ids=[q.name for q in questions()])
"""Run a test once for each question of the catalogue."""


USUAL = "ordinary_day"
"""The data that has something of all that arguments choose."""


def every_call() -> Iterator[Any]:
    """Each question with its defaults on all data, then with each moved set of arguments."""
    for asked, data in itertools.product(questions(), data_sets()):
        for arguments in ({}, *MOVED[asked.name]):
            spelled = ",".join(f"{name}={value}" for name, value in arguments.items())
            often = not arguments or data == USUAL
            yield pytest.param(
                *(asked, arguments, data),
                id=f"{asked.name}({spelled})-{data}",
                marks=() if often else pytest.mark.long,
            )


@every_question
def test_same_knobs(asked: Question) -> None:
    first, *others = inspect.signature(asked.twin).parameters.values()
    assert first.name == "flows"
    if asked.query.history:
        assert others.pop(0).name == "history"
    assert all(other.kind is other.KEYWORD_ONLY for other in others)
    declared = {
        p.name: inspect.Parameter.empty if p.required else p.default for p in asked.query.params
    }
    assert {other.name: other.default for other in others} == declared
    assert [other.name for other in others] == list(declared)


@every_question
def test_same_shape(asked: Question) -> None:
    flows = data_sets()["empty"]
    for name in ("flows", "history"):
        connection().register(name, flows)
    relation = run(connection(), asked.query)
    returns = [(column.name, column.type) for column in asked.query.returns]
    assert list(zip(relation.columns, map(str, relation.types), strict=True)) == returns
    frames = [pl.DataFrame(flows).lazy()] * (2 if asked.query.history else 1)
    schema = asked.twin(*frames, **bind(asked.query, {})).collect_schema()
    assert list(schema.items()) == [(name, POLARS_TYPES[kind]) for name, kind in returns]


@pytest.mark.parametrize(("asked", "arguments", "data"), list(every_call()))
def test_same_rows(asked: Question, arguments: dict[str, Any], data: str) -> None:
    same(asked, data_sets()[data], arguments, history(data))


def on_an_ordinary_day(asked: Question, arguments: dict[str, Any]) -> pl.DataFrame:
    """The answer of the SQL file on the day that has everything."""
    return in_sql(asked, data_sets()["ordinary_day"], arguments, history("ordinary_day"))


@every_question
def test_every_parameter_is_moved_and_matters(asked: Question) -> None:
    usual = on_an_ordinary_day(asked, {})
    moved = {name for arguments in MOVED[asked.name] for name in arguments}
    assert moved == {param.name for param in asked.query.params}
    for arguments in MOVED[asked.name]:
        assert not on_an_ordinary_day(asked, arguments).equals(usual), arguments


@every_question
def test_not_vacuous(asked: Question) -> None:
    assert on_an_ordinary_day(asked, {}).height > 1


def spoil_number(answer: pl.LazyFrame, spoil: Callable[[pl.Expr], pl.Expr]) -> pl.LazyFrame:
    """Change the last count or sum of an answer."""
    kinds = answer.collect_schema().items()
    numbers = [name for name, kind in kinds if kind == pl.Int64]
    numbers = numbers or [name for name, kind in kinds if kind == pl.Float64]
    return answer.with_columns(spoil(pl.col(numbers[-1])))


SPOILED: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "one more": lambda answer: spoil_number(answer, lambda number: number + 1),
    "a row lost": lambda answer: answer.slice(1),
    "upside down": lambda answer: answer.reverse(),
    "columns swapped": lambda answer: answer.select(answer.collect_schema().names()[::-1]),
    "narrow count": lambda answer: spoil_number(answer, lambda number: number.cast(pl.UInt32)),
}
"""Ways for a twin to be wrong, each of which the comparison must see."""


@pytest.mark.parametrize(
    ("asked", "spoil"),
    [
        pytest.param(
            *(asked, spoil),
            id=f"{asked.name}-{name}",
            marks=() if nth == number % len(SPOILED) else pytest.mark.long,
        )
        for number, asked in enumerate(questions())
        for nth, (name, spoil) in enumerate(SPOILED.items())
    ],
)
def test_not_blind(asked: Question, spoil: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
    def wrong(*frames: pl.LazyFrame, **arguments: Any) -> pl.LazyFrame:
        return spoil(asked.twin(*frames, **arguments))

    with pytest.raises(AssertionError):
        same(
            Question(asked.query, wrong),
            data_sets()["ordinary_day"],
            {},
            history("ordinary_day"),
        )


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_right(answer: Answer) -> None:
    assert len(answer.flows) <= 10
    found = same(question(answer.question), answer.flows, answer.arguments, answer.history)
    assert found.rows() == answer.rows


def test_every_question_has_a_worked_out_answer() -> None:
    assert {answer.question for answer in ANSWERS} == {asked.name for asked in questions()}


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
    lost = ANALYSES[-1].__name__
    with pytest.raises(LakeError, match=rf"{lost}\.sql:1: no Polars function is called {lost}"):
        pair(load_queries(), ANALYSES[:-1])
    with pytest.raises(LakeError, match=f"No query file for the Polars function {lost}"):
        pair([query for query in load_queries() if query.name != lost], ANALYSES)
    with pytest.raises(LakeError, match="Two Polars functions"):
        pair(load_queries(), (*ANALYSES, lambda top: top, lambda top: top))


@every_question
@settings(max_examples=settings().max_examples // 5)
@given(data=st.data(), rows=st.lists(RECORDS, min_size=1, max_size=30))
def test_same_on_any_flows(
    asked: Question, data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    arguments = {}
    for p in asked.query.params:
        choices = PRICE if p.type == "DOUBLE" else CHOICES[p.name]
        if not p.nullable:
            choices = choices.filter(lambda value: value is not None)
        arguments[p.name] = data.draw(choices, label=p.name)
    past = data.draw(st.integers(0, len(rows)), label="past") if asked.query.history else 0
    same(asked, flows_of(rows[past:]), arguments, flows_of(rows[:past]))
