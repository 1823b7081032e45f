"""How incidents are put: values in SQL, networks of addresses, amounts and times for people."""

import ipaddress
from collections.abc import Collection
from datetime import timedelta

NAMED = 100
"""How many addresses an incident lists, at most."""


WIDEST = {4: 8, 6: 32}
"""The length of the prefix, by version of IP, below which a network says nothing any more."""


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def together(addresses: Collection[str]) -> str | None:
    """An address alone, or the smallest network with all of them.

    Null for addresses of both versions of IP, for those that have less in common than `WIDEST`, and
    for what is no address.
    """
    try:
        parsed = sorted({ipaddress.ip_address(each) for each in addresses}, key=int)
    except ValueError:
        return None
    if len({each.version for each in parsed}) != 1:
        return None
    if len(parsed) == 1:
        return str(parsed[0])
    network = ipaddress.ip_network(parsed[0])
    while parsed[-1] not in network:
        network = network.supernet()
    return str(network) if network.prefixlen >= WIDEST[network.version] else None


def amount(size: float) -> str:
    """Bytes in the unit that fits: ``1.2 GB``, of 1,000 MB."""
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        unit, size = larger, size / 1000
    digits = 0 if size >= 100 or unit == "bytes" else 1 if size >= 10 else 2
    text = f"{size:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text} {unit}"


def span(length: timedelta) -> str:
    """A time in the unit that fits: ``45 seconds``, ``12 minutes``, ``3 hours``, ``2 days``."""
    seconds = round(length.total_seconds())
    for name, unit in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * unit:
            return f"{round(seconds / unit)} {name}s"
    return "1 second" if seconds == 1 else f"{seconds} seconds"
