"""Values in SQL, networks, amounts and times, as incidents put them."""

from datetime import timedelta

import duckdb
import pytest

from flowlake.detections.wording import amount, quoted, span, together


@pytest.mark.parametrize("text", ["eni-1", "it's", "'; DROP TABLE flows; --", ""])
def test_a_text_is_itself_in_sql(text: str) -> None:
    assert duckdb.execute(f"SELECT {quoted(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        (["10.0.3.17"], "10.0.3.17"),
        (["10.0.3.17", "10.0.3.17"], "10.0.3.17"),
        (["10.0.3.17", "10.0.3.16"], "10.0.3.16/31"),
        (["10.0.4.1", "10.0.3.1", "10.0.3.9"], "10.0.0.0/21"),
        (["10.0.0.1", "192.0.2.1"], None),
        (["2001:db8::1", "2001:db8::ff"], "2001:db8::/120"),
        (["10.0.0.1", "2001:db8::1"], None),
        (["10.0.0.1", "elsewhere"], None),
        ([], None),
    ],
)
def test_the_smallest_network(addresses: list[str], network: str | None) -> None:
    assert together(addresses) == network


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (999_600, "1,000 kB"),
        (1_234_567, "1.23 MB"),
        (20_000_000, "20 MB"),
        (5e9, "5 GB"),
        (2.5e15, "2,500 TB"),
    ],
)
def test_amounts(size: float, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "120 minutes"),
        (7_200, "2 hours"),
        (172_800, "2 days"),
    ],
)
def test_times(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
