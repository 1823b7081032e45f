"""Addresses as numbers: the macros of SQL and the expressions of Polars say the same, and right."""

import ipaddress
from functools import cache
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlake.addresses import (
    MAPPED,
    PRIVATE,
    address_number,
    in_networks,
    is_private,
    is_public,
    network,
)
from flowlake.errors import UsageError
from flowlake.macros import register_macros


@cache
def connection() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect(":memory:")
    register_macros(opened)
    return opened


def in_sql(call: str, addresses: list[str | None], cidrs: list[str]) -> list[Any]:
    """What a macro says of each address."""
    connection().register("asked", pl.DataFrame({"address": addresses}, {"address": pl.String}))
    rows = connection().execute(f"SELECT {call} FROM asked", {"cidrs": cidrs} if cidrs else None)
    return [value for (value,) in rows.fetchall()]


def in_polars(said: pl.Expr, addresses: list[str | None]) -> list[Any]:
    """What an expression says of each address."""
    frame = pl.LazyFrame({"address": addresses}, {"address": pl.String})
    return frame.select(said).collect().to_series().to_list()


ADDRESS = pl.col("address")
NO_ADDRESS = [
    *("", "-", "unknown", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4"),
    *(":", ":1", "1:", "1:::2", "1::2::3", "12345::", "g::", "fe80::1%eth0", "::ffff:1.2.3.4"),
    *("1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "\u0661.2.3.4", "1.2.3.4\n"),
]


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("0.0.0.0", MAPPED),
        ("10.0.0.1", MAPPED + 0x0A000001),
        ("255.255.255.255", MAPPED + 0xFFFFFFFF),
        ("::", 0),
        ("::1", 1),
        ("1::", 1 << 112),
        ("2001:db8::8:800:200c:417a", 0x20010DB8_00000000_00080800_200C417A),
        ("2001:DB8:0:0:8:0800:200C:417A", 0x20010DB8_00000000_00080800_200C417A),
        ("1:2:3:4:5:6:7::", 0x00010002_00030004_00050006_00070000),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 2**128 - 1),
        (None, None),
        *((text, None) for text in NO_ADDRESS),
    ],
)
def test_an_address_has_a_number(address: str | None, number: int | None) -> None:
    assert in_sql("address_number(address)", [address], []) == [number]
    assert in_polars(address_number(ADDRESS), [address]) == [number]


TEXTS = st.one_of(
    st.none(),
    st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: ipaddress.IPv6Address(n).exploded.upper()),
    st.tuples(st.integers(0, 2**24), st.integers(0, 104)).map(
        lambda each: str(ipaddress.IPv6Address(each[0] << each[1]))
    ),
    st.from_regex(r"[0-9a-fg.:]{0,12}", fullmatch=True),
    st.sampled_from(NO_ADDRESS),
)
CIDRS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
            lambda each: f"{ipaddress.IPv4Address(each[0])}/{each[1]}"
        ),
        st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
            lambda each: f"{ipaddress.IPv6Address(each[0])}/{each[1]}"
        ),
        st.sampled_from(["0.0.0.0/0", "::/0", "::/80", "10.0.0.0/8", "203.0.113.7", "::1"]),
    ),
    min_size=1,
    max_size=4,
)


def python_says(address: str | None, cidrs: list[str]) -> bool | None:
    """The same by the standard library, one address at a time."""
    if address is None or ("." in address and ":" in address) or "%" in address:
        return None
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in each for each in networks)


@settings(max_examples=settings().max_examples // 3)
@given(addresses=st.lists(TEXTS, min_size=5, max_size=80), cidrs=CIDRS)
def test_membership_is_the_same_in_sql_in_polars_and_by_the_standard_library(
    addresses: list[str | None], cidrs: list[str]
) -> None:
    expected = []
    for address in addresses:
        private = python_says(address, [*PRIVATE, *cidrs])
        public = None if private is None else not private
        expected.append((python_says(address, cidrs), private, public))
    calls = ("in_networks(address, $cidrs)", "is_private(address, $cidrs)")
    said = in_sql(f"({', '.join(calls)}, is_public(address, $cidrs))", addresses, cidrs)
    assert said == expected
    frame = pl.DataFrame({"address": addresses}, {"address": pl.String})
    assert (
        expected
        == frame.select(
            networks=in_networks(ADDRESS, cidrs),
            private=is_private(ADDRESS, cidrs),
            public=is_public(ADDRESS, cidrs),
        ).rows()
    )


INSIDE = """
    10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 169.254.169.254 fe80::1
    fd12:3456::1
"""
OUTSIDE = """
    9.255.255.255 172.15.255.255 172.32.0.0 100.128.0.0 8.8.8.8 203.0.113.5 198.51.100.1 192.0.2.1
    2001:db8::1 198.18.0.1 ::1
"""


def test_what_is_private() -> None:
    addresses: list[str | None] = [*INSIDE.split(), *OUTSIDE.split()]
    expected = [True] * len(INSIDE.split()) + [False] * len(OUTSIDE.split())
    assert in_polars(is_private(ADDRESS), addresses) == expected
    assert in_sql("is_private(address, [])", addresses, []) == expected


@pytest.mark.parametrize(
    "cidr", ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/-1", "::/129", "/8"]
)
def test_what_is_no_network_is_refused(cidr: str) -> None:
    with pytest.raises(UsageError, match="is not a network: write"):
        network(cidr)
    with pytest.raises(duckdb.Error, match="is not a network: write"):
        in_sql("in_networks(address, $cidrs)", ["10.0.0.1"], [cidr])


def test_host_bits_and_blanks_do_not_matter() -> None:
    assert network(" 10.1.2.3/8") == network("10.0.0.0/8")
    assert in_sql("in_networks(address, $cidrs)", ["10.9.9.9"], [" 10.1.2.3/8 "]) == [True]


def test_expressions_stay_lazy_and_keep_their_rows() -> None:
    frame = pl.LazyFrame({"address": ["10.0.0.1", None, "8.8.8.8"] * 3, "n": range(9)})
    kept = frame.filter(is_private(ADDRESS)).collect()
    assert kept["n"].to_list() == [0, 3, 6]
    assert frame.select(address_number(ADDRESS)).collect_schema() == {"address": pl.UInt128}
    empty = frame.filter(pl.lit(False)).select(is_private(ADDRESS)).collect()
    assert empty.schema == {"address": pl.Boolean}
