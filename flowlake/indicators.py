"""Indicators: what can be hunted, and how a list of it is written."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from flowlake.errors import UsageError

Kind = Literal["address", "network", "interface", "instance"]

_DEFANGED = re.compile(r"[\[({](\.|:|dot)[\])}]", re.IGNORECASE)
IDS: dict[Kind, re.Pattern[str]] = {
    "interface": re.compile(r"eni-[0-9a-z]+"),
    "instance": re.compile(r"i-[0-9a-z]+"),
}


class Indicator(NamedTuple):
    """What is hunted, in AWS's spelling, and what it is."""

    text: str
    kind: Kind


def parse_indicator(text: str) -> Indicator:
    """Read an address, a CIDR, ``eni-…`` or ``i-…``; also defanged, as in ``203[.]0[.]113[.]5``.

    IPv6 becomes lower case and short; host bits of a network are dropped; a network of one address
    is that address, and an IPv4 address mapped into IPv6 is the IPv4 address.

    Raises:
        UsageError: when it is none of these.
    """
    plain = text.strip().strip("\"'").strip()
    plain = _DEFANGED.sub(lambda found: found[1].lower().replace("dot", "."), plain)
    for kind, pattern in IDS.items():
        if pattern.fullmatch(plain.lower()):
            return Indicator(plain.lower(), kind)
    bare = plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain
    try:
        if "%" in bare:
            raise ValueError("a zone is of one host only")
        found = ipaddress.ip_network(bare, strict=False)
    except ValueError as error:
        raise UsageError(
            f"{text[:99]!r} cannot be hunted: give an IPv4 or IPv6 address, a network such as "
            "203.0.113.0/24, an interface (eni-…) or an instance (i-…)."
        ) from error
    if found.num_addresses > 1:
        return Indicator(str(found), "network")
    address = found.network_address
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Indicator(str(mapped or address), "address")


def read_indicators(path: str | os.PathLike[str]) -> list[Indicator]:
    """Read a list of indicators: one a line, or the first column of a CSV; duplicates dropped.

    Blank lines, and what follows a ``#``, are skipped.

    Raises:
        UsageError: for a file that cannot be read, and for a line that is no indicator.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The list {path} cannot be read ({error}): check --file.") from error
    found = []
    for number, line in enumerate(lines, 1):
        first = line.partition("#")[0].partition(",")[0].strip()
        if line.partition("#")[0].strip():
            try:
                found.append(parse_indicator(first))
            except UsageError as error:
                raise UsageError(f"{path}, line {number}: {error}") from error
    return list(dict.fromkeys(found))
