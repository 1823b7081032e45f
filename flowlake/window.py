"""The part of the data that is asked for: from when to when, which accounts and regions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from flowlake.errors import UsageError

AGE = re.compile(r"([0-9]{1,6})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Window:
    """``since`` is included, ``until`` is not; both UTC. Empty accounts or regions mean all."""

    since: datetime | None = None
    until: datetime | None = None
    accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Window()


def window(
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    account: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
) -> Window:
    """Make a window from what a user gives: times as ``parse_time`` reads them, one or many names.

    Raises:
        UsageError: for a time that cannot be read, an account that is no account id, and a window
            that ends before it begins.
    """
    now = datetime.now(UTC)
    begin = parse_time(since, now) if since is not None else None
    end = parse_time(until, now) if until is not None else None
    if begin is not None and end is not None and end <= begin:
        raise UsageError(
            f"The window ends ({end:%FT%TZ}) before it begins ({begin:%FT%TZ}): set --until after "
            "--since."
        )
    accounts = (account,) if isinstance(account, str) else tuple(account or ())
    for name in accounts:
        if re.fullmatch(r"[0-9]{12}|unknown", name) is None:
            raise UsageError(f"{name!r} is not an AWS account id: write its 12 digits.")
    return Window(
        begin, end, accounts, (region,) if isinstance(region, str) else tuple(region or ())
    )


def before(wanted: Window, days: int) -> Window:
    """The days before a window that begins somewhere, of the same accounts and regions."""
    assert wanted.since is not None
    try:
        begin = wanted.since - timedelta(days=days)
    except OverflowError:
        begin = None
    return replace(wanted, since=begin, until=wanted.since)


def parse_time(time: datetime | str, now: datetime) -> datetime:
    """A moment in UTC: ISO 8601 (``2026-01-14``, ``2026-01-14T22:05Z``) or an age (``24h``).

    A time without a zone is UTC. An age counts back from ``now``: m, h, d or w.

    Raises:
        UsageError: when it is neither.
    """
    try:
        if isinstance(time, str):
            if AGE.fullmatch(time.strip()):
                return now - parse_age(time)
            time = datetime.fromisoformat(time.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{str(time)!r} is not a time: write 2026-01-14, 2026-01-14T22:05Z, 24h or 7d (UTC)."
        ) from error


def parse_age(age: str) -> timedelta:
    """A span of time such as ``15m``, ``24h``, ``7d`` or ``2w``.

    Raises:
        UsageError: when it is none.
    """
    match = AGE.fullmatch(age.strip())
    if match is None:
        raise UsageError(f"{age!r} is not an age: write 15m, 24h, 7d or 2w.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
