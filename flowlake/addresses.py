"""IP addresses as numbers, so that networks are ranges: which are private, which lie in a CIDR.

An address is a number of 128 bits; IPv4 stands where RFC 4291 maps it, at ``::ffff:0:0/96``, so
one number serves both versions. Each expression is worked out once for each distinct address.
The SQL macros of the same names, in `flowlake.macros`, say the same.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

import polars as pl

from flowlake.errors import UsageError

PRIVATE: dict[str, str] = {
    "10.0.0.0/8": "RFC 1918, private use",
    "172.16.0.0/12": "RFC 1918, private use",
    "192.168.0.0/16": "RFC 1918, private use",
    "100.64.0.0/10": "RFC 6598, shared between a carrier and its customers",
    "169.254.0.0/16": "RFC 3927, link-local",
    "fe80::/10": "RFC 4291, link-local",
    "fc00::/7": "RFC 4193, unique local (ULA)",
}
"""Networks that are private wherever they are seen, with the source; all else is public.

Documentation ranges count as public, unlike in Python's ``is_private``: whoever writes them into
an example means an outsider.
"""

MAPPED = 0xFFFF << 32
"""What is added to an IPv4 address to make its number. RFC 4291, section 2.5.5.2."""

MAPPED_END = MAPPED + 0xFFFF_FFFF
"""The number of 255.255.255.255. A network of IPv6 around all of IPv4, ``::/0``, leaves it out."""

_IPV4 = r"^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$"


class Network(NamedTuple):
    """The numbers of a network's first and last address, both in it."""

    first: int
    last: int


def network(cidr: str) -> Network:
    """Read ``10.0.0.0/8``, ``2001:db8::/32`` or a lone address; set host bits are ignored.

    Raises:
        UsageError: when it is none of these.
    """
    try:
        found = ipaddress.ip_network(cidr.strip(), strict=False)
    except ValueError as error:
        raise UsageError(
            f"{cidr!r} is not a network: write 10.0.0.0/8, 2001:db8::/32 or an address."
        ) from error
    offset = MAPPED if found.version == 4 else 0
    return Network(offset + int(found[0]), offset + int(found[-1]))


def address_number(address: pl.Expr) -> pl.Expr:
    """The number of an address, UInt128; null for null and for what is not an address.

    Leading zeros, zone ids and dotted tails of IPv6, which AWS does not write, are no address.
    """
    return on_distinct(address, _numbers, pl.UInt128())


def in_networks(address: pl.Expr, cidrs: Iterable[str]) -> pl.Expr:
    """Whether an address lies in any of the networks; null where it is no address.

    Raises:
        UsageError: for what is not a network.
    """
    wanted = [network(cidr) for cidr in cidrs]

    def inside(distinct: pl.Series) -> pl.Series:
        numbers = pl.col("numbers")
        of_ipv4 = _between(numbers, Network(MAPPED, MAPPED_END))
        within = [
            _between(numbers, each) & (~of_ipv4 if each.first < MAPPED else True) for each in wanted
        ]
        found = pl.any_horizontal(pl.lit(False), *within)
        frame = _numbers(distinct).rename("numbers").to_frame()
        return frame.select(pl.when(numbers.is_not_null()).then(found)).to_series()

    return on_distinct(address, inside, pl.Boolean())


def is_private(address: pl.Expr, internal: Iterable[str] = ()) -> pl.Expr:
    """Whether an address is in `PRIVATE` or in networks of your own; null if it is no address."""
    return in_networks(address, (*PRIVATE, *internal))


def is_public(address: pl.Expr, internal: Iterable[str] = ()) -> pl.Expr:
    """Whether an address is not private; null if it is no address."""
    return ~is_private(address, internal)


def _between(numbers: pl.Expr, wanted: Network) -> pl.Expr:
    first, last = (pl.lit(end, pl.UInt128) for end in wanted)
    return numbers.is_between(first, last)


def _numbers(addresses: pl.Series) -> pl.Series:
    """The numbers of distinct addresses: IPv4 by the column, the rest one by one."""
    octets = addresses.to_frame("text").select(
        pl.col("text").str.extract_groups(_IPV4).alias("octets"),
        plain=~pl.col("text").str.contains(r"(^|\.)0\d"),
    )
    parts = [
        pl.col("octets").struct[place].cast(pl.UInt8, strict=False).cast(pl.UInt64) * 256**power
        for place, power in enumerate((3, 2, 1, 0))
    ]
    numbers = octets.select(
        pl.when("plain").then((pl.sum_horizontal(*parts, ignore_nulls=False)) + MAPPED)
    ).to_series()
    others = addresses.filter(addresses.str.contains(":", literal=True).fill_null(False))
    numbers = numbers.cast(pl.UInt128)
    if others.is_empty():
        return numbers
    wide = pl.Series([_ipv6_number(text) for text in others], dtype=pl.UInt128)
    places = addresses.str.contains(":", literal=True).fill_null(False).arg_true()
    return numbers.scatter(places, wide)


def _ipv6_number(text: str) -> int | None:
    if "." in text:
        return None
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        return None


def on_distinct(
    address: pl.Expr, answer: Callable[[pl.Series], pl.Series], dtype: pl.DataType
) -> pl.Expr:
    """Answer for each distinct value, then hand the answers back to the rows."""

    def batch(column: pl.Series) -> pl.Series:
        distinct = column.unique().drop_nulls()
        if distinct.is_empty():
            return pl.repeat(None, column.len(), dtype=dtype, eager=True).alias(column.name)
        answers = answer(distinct)
        return column.replace_strict(distinct, answers, default=None, return_dtype=dtype)

    return address.map_batches(batch, return_dtype=dtype, is_elementwise=True)
