"""``alarms.toml`` -> alarms and deliveries, checked, with the line of what is wrong.

::

    [delivery.security]
    kind = "sns"
    topic_arn = "arn:aws:sns:eu-west-1:123456789012:security"

    [[alarm]]
    name = "application scanned"
    kind = "port_scan"
    targets = ["10.0.0.0/16"]
    deliver = ["security"]
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowlake.addresses import network
from flowlake.delivering import SETTINGS, Delivery
from flowlake.detections import DETECTIONS, Detection, Parameter
from flowlake.errors import UsageError
from flowlake.scopes import EVERYBODY, NOBODY, Members, parse_allowed, parse_entry
from flowlake.storage import Access, canonical, open_storage
from flowlake.window import parse_age

SEVERITIES = ("low", "medium", "high", "critical")
KINDS: Mapping[str, Detection] = MappingProxyType({each.kind: each for each in DETECTIONS})

_COMMON = ("name", "kind", "severity", "deliver", "accounts", "regions")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One ``[[alarm]]``: a detection, whom it is about, and where its findings go."""

    name: str
    kind: str
    severity: str
    deliver: tuple[str, ...]
    accounts: tuple[str, ...]
    regions: tuple[str, ...]
    given: Mapping[str, Any]
    """The parameters that are set; scopes are still as they are written."""

    @property
    def detection(self) -> Detection:
        """What finds its incidents."""
        return KINDS[self.kind]

    @property
    def window(self) -> timedelta:
        """Over how long an incident's evidence is counted; zero where there is no such limit."""
        name = self.detection.window
        return self.value(name) if name else timedelta(0)

    @property
    def past(self) -> int:
        """How many days of history it compares with."""
        return int(self.value("days")) if self.detection.learns else 0

    def value(self, name: str) -> Any:
        """What a parameter is: as it is set, or its default."""
        return self.given.get(name, self.detection.defaults().get(name))


@dataclass(frozen=True, slots=True)
class Rules:
    """What an ``alarms.toml`` says."""

    alarms: tuple[Alarm, ...]
    deliveries: Mapping[str, Delivery]


def read_rules(path: str | os.PathLike[str], access: Access = Access()) -> Rules:
    """Read and check an ``alarms.toml``: a file or an ``s3://`` URL.

    Raises:
        UsageError: for what is wrong in it, with the line.
        StorageError: when it cannot be read.
    """
    place = os.fspath(path)
    if "://" in place:
        body = bytes(open_storage(place, access).get(canonical(place)))
    else:
        try:
            body = Path(place).read_bytes()
        except OSError as error:
            raise UsageError(
                f"Cannot read {place}: {error.strerror}. Name the rules with --config; "
                "`flowlake alarms list` shows what to write into them."
            ) from error
    try:
        return parse_rules(body.decode(), place)
    except UnicodeDecodeError as error:
        raise UsageError(f"{place} is not UTF-8 text: save it as UTF-8.") from error


def parse_rules(text: str, place: str = "alarms.toml") -> Rules:
    """Check the text of an ``alarms.toml``.

    Raises:
        UsageError: for the first thing that is wrong in it, as ``PLACE:LINE: …``.
    """
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number of too many digits
        line = re.search(r"at line (\d+)", str(error))
        where = f"{place}:{line[1]}" if line else place
        raise UsageError(f"{where}: this is not TOML: {error}.") from error
    source = _Source(text, place)
    for name in given.keys() - {"alarm", "delivery"}:
        raise source.wrong(f"{name!r} is neither [[alarm]] nor [delivery.NAME].", key=name)
    deliveries = given.get("delivery", {})
    alarms = given.get("alarm", [])
    if not isinstance(deliveries, dict) or not all(
        isinstance(d, dict) for d in deliveries.values()
    ):
        raise source.wrong("A delivery is a table [delivery.NAME].", key="delivery")
    if not isinstance(alarms, list) or not all(isinstance(a, dict) for a in alarms):
        raise source.wrong("An alarm is a table [[alarm]], with two brackets.", key="alarm")
    if not alarms:
        raise UsageError(f"{place} has no [[alarm]]: `flowlake alarms list` shows the kinds.")
    known = {name: _delivery(name, table, source) for name, table in deliveries.items()}
    read = tuple(_alarm(table, number, known, source) for number, table in enumerate(alarms))
    names = [each.name for each in read]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise source.wrong(f"there is another alarm {name!r}.", alarm=number, key="name")
    return Rules(read, MappingProxyType(known))


class _Source:
    """The text, to say in which line something stands."""

    def __init__(self, text: str, place: str) -> None:
        self._lines = text.splitlines()
        self._place = place

    def wrong(
        self, what: str, *, alarm: int | None = None, delivery: str | None = None, key: str = ""
    ) -> UsageError:
        """The error, with the line of a key of the alarm or delivery, or else of its header."""
        head = None
        if alarm is not None:
            head = r"\s*\[\[\s*alarm\s*\]\]"
        elif delivery is not None:
            head = rf"\s*\[\s*delivery\s*\.\s*[\"']?{re.escape(delivery)}[\"']?\s*\]"
        begin = 0
        if head is not None:
            heads = [n for n, line in enumerate(self._lines) if re.match(head, line)]
            begin = heads[alarm or 0] if heads[alarm or 0 :] else 0
        line = begin
        for number in range(begin, len(self._lines)):
            if number > begin and head is not None and re.match(r"\s*\[", self._lines[number]):
                break
            if key and re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\b", self._lines[number]):
                line = number
                break
        return UsageError(f"{self._place}:{line + 1}: {what}")


def _delivery(name: str, table: Mapping[str, Any], source: _Source) -> Delivery:
    def wrong(what: str, key: str = "") -> UsageError:
        return source.wrong(f"delivery {name!r}: {what}", delivery=name, key=key)

    kind = next((each for each in SETTINGS if each == table.get("kind")), None)
    if kind is None:
        known = ", ".join(SETTINGS)
        raise wrong(f"kind is one of {known}, not {table.get('kind')!r}.", "kind")
    settings = {key: value for key, value in table.items() if key != "kind"}
    try:
        return Delivery(name, kind, MappingProxyType(settings))
    except UsageError as error:
        words = str(error).removeprefix(f"[delivery.{name}]: ")
        raise wrong(words, next((key for key in settings if key in words), "kind")) from error


def _alarm(
    table: Mapping[str, Any], number: int, deliveries: Mapping[str, Delivery], source: _Source
) -> Alarm:
    label = f"alarm {table.get('name', number + 1)!r}"

    def wrong(what: str, key: str = "") -> UsageError:
        return source.wrong(f"{label}: {what}", alarm=number, key=key)

    def texts(key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise wrong(f"{key} is a list of texts.", key)
        return tuple(value)

    name, kind = table.get("name"), table.get("kind")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong("it needs a name, text in one line of up to 100 characters.", "name")
    if not isinstance(kind, str) or kind not in KINDS:
        raise wrong(f"{_unknown('kind', kind, KINDS)}; `flowlake alarms list` has all.", "kind")
    found = KINDS[kind]
    severity = table.get("severity", found.severity)
    if severity not in SEVERITIES:
        raise wrong(f"severity is one of {', '.join(SEVERITIES)}, not {severity!r}.", "severity")
    for each in texts("deliver"):
        if each not in deliveries:
            raise wrong(
                f"{_unknown('delivery', each, deliveries)}: add [delivery.{each}].", "deliver"
            )
    for account in texts("accounts"):
        if not re.fullmatch(r"[0-9]{12}", account):
            raise wrong(f"{account!r} is not an AWS account id: write its 12 digits.", "accounts")
    wanted = {each.name: each for each in found.parameters}
    for key in table.keys() - wanted.keys() - set(_COMMON):
        raise wrong(f"{_unknown(f'parameter of {kind}', key, [*wanted, *_COMMON])}.", key)
    values = {}
    for parameter in found.parameters:
        if parameter.name in table:
            try:
                values[parameter.name] = _value(parameter, table[parameter.name])
            except UsageError as error:
                raise wrong(f"{parameter.name}: {error}", parameter.name) from error
        elif parameter.required:
            raise wrong(f"{kind} needs {parameter.name}: {parameter.meaning}", "kind")
    return Alarm(
        name,
        kind,
        severity,
        texts("deliver"),
        texts("accounts"),
        texts("regions"),
        MappingProxyType(values),
    )


def spelled(value: Any) -> str:
    """A parameter's value as ``alarms.toml`` has it; nothing for None."""
    match value:
        case None | Members():
            return '["any"]' if value is EVERYBODY else "[]" if value is NOBODY else ""
        case timedelta():
            seconds = int(value.total_seconds())
            unit = next(u for u, n in _UNITS.items() if seconds % n == 0)
            return f'"{seconds // _UNITS[unit]}{unit}"'
        case tuple():
            return f"[{', '.join(spelled(each) for each in value)}]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def _unknown(what: str, given: object, known: Any) -> str:
    close = get_close_matches(str(given), list(known), 1)
    return f"there is no {what} {given!r}" + (f", perhaps {close[0]!r}" if close else "")


def _value(parameter: Parameter, given: Any) -> Any:
    """What a detection gets; a scope stays as it is written, for it is resolved with the data."""
    listed = parameter.type in ("ports", "scope", "allowed", "networks")
    needed = parameter.required and parameter.type != "allowed"
    if listed and (not isinstance(given, list) or (needed and not given)):
        raise UsageError("write a list, [ … ].")
    match parameter.type:
        case "integer" if type(given) is int and given >= 0:
            return given
        case "number" if type(given) in (int, float) and given >= 0:
            return float(given)
        case "choice" if given in parameter.choices:
            return given
        case "duration" if isinstance(given, str):
            span = parse_age(given)
            if span:
                return span
        case "ports":
            if all(type(port) is int and 0 <= port <= 65535 for port in given):
                return tuple(given)
        case "allowed" if all(isinstance(each, str) for each in given):
            return tuple(parse_allowed(each) for each in given)
        case "scope" | "networks" if all(isinstance(each, str) for each in given):
            for each in given:
                _CHECKS[parameter.type](each)
            return tuple(given)
    raise UsageError(f"{_WANTED.get(parameter.type, '')}{', '.join(parameter.choices)}.")


_CHECKS = {"scope": parse_entry, "networks": network}
_WANTED = {
    "integer": "write a whole number, 0 or more",
    "number": "write a number, 0 or more",
    "choice": "write one of ",
    "duration": 'write a time such as "5m", "1h" or "7d"',
    "ports": "write port numbers, 0 to 65535",
    "scope": "write texts in quotes",
    "allowed": "write texts in quotes",
    "networks": "write texts in quotes",
}
