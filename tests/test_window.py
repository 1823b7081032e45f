"""The window: what a user may write for a time, an account, a region, and what it comes to."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlake.errors import UsageError
from flowlake.window import Window, before, parse_age, parse_time, window

NOW = datetime(2026, 1, 14, 22, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-14", datetime(2026, 1, 14, tzinfo=UTC)),
        ("20260114", datetime(2026, 1, 14, tzinfo=UTC)),
        ("2026-01-14T22:05", NOW),
        ("2026-01-14 22:05:00", NOW),
        ("2026-01-14T22:05Z", NOW),
        (" 2026-01-14T22:05Z\n", NOW),
        ("2026-01-14T23:05+01:00", NOW),
        ("2026-01-14T22:05:00.000001Z", NOW + timedelta(microseconds=1)),
        ("0m", NOW),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(days=1)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
        (" 24h ", NOW - timedelta(days=1)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment
    assert parse_time(text, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "24", "h", "-1h", "1.5h", "24H", "3s", "1 h", "1h30m", "٣h", "1000000h"),
        *("2026-13-01", "2026-02-30", "14/01/2026", "2026-01-14T25:00", "1768428300"),
        *("999999w", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"),
    ],
)
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a time: write 2026-01-14, .*24h or 7d") as error:
        parse_time(text, NOW)
    assert text[:10] in str(error.value).replace("\\n", "\n")


def test_a_datetime_is_taken_at_its_word() -> None:
    assert parse_time(datetime(2026, 1, 14, 22, 5), NOW) == NOW
    tokyo = datetime(2026, 1, 15, 7, 5, tzinfo=timezone(timedelta(hours=9)))
    assert parse_time(tokyo, NOW) == NOW
    assert parse_time(tokyo, NOW).tzinfo is UTC


def test_a_time_without_a_zone_is_utc_wherever_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        read = [parse_time("2026-01-14T22:05", NOW), parse_time(datetime(2026, 1, 14, 22, 5), NOW)]
    time.tzset()
    assert read == [NOW, NOW]


@pytest.mark.parametrize("text", ["", "15", "m", "-15m", "15 m", "15min", "15m ago", "1.5h"])
def test_what_is_no_age_says_what_is(text: str) -> None:
    with pytest.raises(UsageError, match="is not an age: write 15m, 24h, 7d or 2w"):
        parse_age(text)


def test_the_days_before_a_window_end_where_it_begins() -> None:
    wanted = window("2026-01-14", "2026-01-15", "123456789012", "eu-west-1")
    assert before(wanted, 7) == window("2026-01-07", "2026-01-14", "123456789012", "eu-west-1")
    assert before(window("0001-01-02"), 7) == Window(None, datetime(1, 1, 2, tzinfo=UTC))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_being_written(time: datetime) -> None:
    assert parse_time(time.isoformat(), NOW) == time
    assert parse_time(time, NOW) == time


def test_nothing_asked_is_everything() -> None:
    assert window() == Window()
    assert not window()
    assert not window(account=[], region=())


@pytest.mark.parametrize(
    "asked",
    [
        Window(since=NOW),
        Window(until=NOW),
        Window(accounts=("123456789010",)),
        Window(regions=("us-east-1",)),
    ],
)
def test_anything_asked_is_a_window(asked: Window) -> None:
    assert asked


def test_one_or_many_names() -> None:
    assert window(account="012345678901", region="us-east-1") == Window(
        accounts=("012345678901",), regions=("us-east-1",)
    )
    asked = window(account=["012345678901", "unknown"], region=["us-east-1", "eu-west-1"])
    assert asked.accounts == ("012345678901", "unknown")
    assert asked.regions == ("us-east-1", "eu-west-1")
    assert hash(asked)


@pytest.mark.parametrize(
    "name", ["12345678901", "1234567890123", "12345678901x", "", "123456789010\n"]
)
def test_what_is_no_account(name: str) -> None:
    with pytest.raises(UsageError, match="is not an AWS account id: write its 12 digits"):
        window(account=name)
    with pytest.raises(UsageError, match="12 digits"):
        window(account=["123456789010", name])


def test_ages_count_from_one_now() -> None:
    asked = window(since="24h", until="1h")
    assert asked.since is not None
    assert asked.until is not None
    assert asked.until - asked.since == timedelta(hours=23)
    assert abs(datetime.now(UTC) - timedelta(days=1) - asked.since) < timedelta(minutes=1)


@pytest.mark.parametrize(("since", "until"), [("1h", "24h"), ("1h", "1h"), ("2026-01-15", NOW)])
def test_a_window_ends_after_it_begins(since: str, until: str | datetime) -> None:
    with pytest.raises(UsageError, match=r"ends \(2.*Z\) before it begins \(2.*Z\)"):
        window(since, until)
