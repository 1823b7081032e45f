"""The fuzzer, for some seconds: what was found stays repaired, and it sees what goes wrong."""

import itertools
import os
import time
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import Finding
from benchmarks.judging import Seed, check, read, understood
from flowlake.reading import messages

FINDINGS = Path(__file__).parent / "data" / "findings"

LINES_AND_ROWS: dict[str, tuple[int, int] | None] = {
    # None: an object that cannot be read
    "json-event-damaged": (6, 3),
    "json-lone-surrogate": (3, 2),
    "json-nested-deep": (4, 2),
    "json-number-across-members": (3, 2),
    "json-number-of-5000-digits": (3, 2),
    "json-separator-in-message": (3, 2),
    "json-stray-quote": (3, 2),
    "json-without-a-message": None,
    "parquet-binary-not-utf-8": (2, 1),
    "parquet-column-metadata": (1, 0),
    "parquet-date-of-no-calendar": (2, 2),
    "parquet-decimal-of-256-bits": None,
    "parquet-decimal-too-narrow": (2, 0),
    "parquet-duration": None,
    "parquet-flag-for-a-number": None,
    "parquet-fraction": (2, 1),
    "parquet-known-field-in-other-letters": (2, 2),
    "parquet-name-not-utf-8": None,
    "parquet-row-group-damaged": (2, 1),
    "parquet-seconds-that-wrap": (2, 1),
    "parquet-text-not-utf-8": (2, 1),
    "parquet-time-of-no-calendar": (2, 1),
    "text-byte-order-mark-in-a-record": (1, 1),
    "text-header-of-3000-fields": None,
    "text-no-break-space": (1, 1),
    "text-number-of-5000-digits": (2, 1),
    "text-record-above-the-header": (2, 1),
}


def test_each_finding_is_known_and_told() -> None:
    told = (FINDINGS / "README.md").read_text()
    assert {path.stem for path in FINDINGS.glob("*.bin")} == set(LINES_AND_ROWS)
    assert [name for name in LINES_AND_ROWS if f"`{name}`" not in told] == []


@pytest.mark.parametrize("name", LINES_AND_ROWS)
def test_what_was_found_stays_repaired(name: str) -> None:
    seed = Seed(name, (FINDINGS / f"{name}.bin").read_bytes())
    check(seed, seed.body)
    found = read(seed, seed.body)
    counts = sum(batch.lines for batch in found), sum(batch.flows.height for batch in found)
    assert (counts if found else None) == LINES_AND_ROWS[name]


def test_documents_that_do_not_end_are_not_read_again_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "IN_VAIN", 50_000)
    good = b'{"message":"2 123456789010 eni-1 - - - - - - - 1 2 - NODATA"}'
    body = good + b'{"message":[' * 500 + b"1," * 9000 + b"\n" + good
    found = read(Seed("text", b""), body)
    assert sum(batch.flows.height for batch in found) == 2
    assert sum(batch.lines for batch in found) < 10


@pytest.fixture(scope="module")
def corpus() -> list[Seed]:
    return fuzz.seeds()


def test_damaged_objects_are_read_or_refused(corpus: list[Seed]) -> None:
    told = [*fuzz.run(7, iter(range(500)), corpus)]
    assert [found for found in told if isinstance(found, Finding)] == []
    assert told == [*range(500)]


def test_a_case_is_known_by_its_seed_and_number(corpus: list[Seed]) -> None:
    bodies = [fuzz.case(7, number, corpus)[1] for number in range(40)]
    assert bodies == [fuzz.case(7, number, corpus)[1] for number in range(40)]
    assert bodies != [fuzz.case(8, number, corpus)[1] for number in range(40)]


# --- The fuzzer sees what goes wrong ------------------------------------------------------------


def hangs_or_ends(seed: Seed, body: bytes) -> None:
    """A judge in whose process objects hang, end it, break a promise, or are read."""
    match seed.name:
        case "hangs":
            time.sleep(60)
        case "ends":
            os.abort()
        case "breaks":
            raise AssertionError("rows lost")


def test_a_hang_an_abort_and_a_broken_promise_are_findings() -> None:
    wrong = [Seed(name, b"x" * 99) for name in ("hangs", "ends", "breaks", "is read")]
    numbers: dict[str, int] = {}
    for number in itertools.count():
        numbers.setdefault(fuzz.case(7, number, wrong)[0].name, number)
        if len(numbers) == len(wrong):
            break
    told = dict(
        zip(numbers, fuzz.run(7, iter(numbers.values()), wrong, hangs_or_ends, 2), strict=True)
    )
    assert told["is read"] == numbers["is read"]
    for name, said in (("hangs", "Timeout"), ("ends", "Aborted"), ("breaks", "rows lost")):
        finding = told[name]
        assert isinstance(finding, Finding)
        assert finding.number == numbers[name]
        assert said in finding.trouble


HEADER = b"bytes start\n"
GOOD = b"7 1616729292\n8 1616729292\n"


def test_the_judge_misses_rows_of_whole_records(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = understood(Seed("text", HEADER + GOOD))
    assert len(seed.rows) == 2
    check(seed, HEADER + b"x\n" + GOOD)
    fewer = read(seed, HEADER + GOOD[:13] + b"x 5\n")
    monkeypatch.setattr("benchmarks.judging.read", lambda seed, body: fewer)
    with pytest.raises(AssertionError, match="rows of whole records are missing"):
        check(seed, HEADER + GOOD)
    with pytest.raises(AssertionError, match="2 lines of 4, 1 headers"):
        check(seed, HEADER + GOOD + b"y\n")
