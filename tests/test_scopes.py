"""Whom a rule is about: how it is written, and who it is by an inventory or by records alone."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from flowlake.errors import UsageError
from flowlake.fields import polars_schema
from flowlake.scopes import EVERYBODY, Allowed, Entry, Members, members, parse_allowed, parse_entry

SAME = "10.0.0.5"
"""An address that two VPCs both have."""
TAGS = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))


def records(*rows: Mapping[str, Any]) -> pl.LazyFrame:
    return pl.LazyFrame(list(rows), schema=polars_schema())


def seen(interface: str, srcaddr: str, dstaddr: str, **others: Any) -> dict[str, Any]:
    return {"interface_id": interface, "srcaddr": srcaddr, "dstaddr": dstaddr, **others}


def inventory(*rows: tuple[str, Sequence[str], str | None, str, str, str]) -> pl.DataFrame:
    """Interfaces: id, addresses, instance, subnet, VPC, Name."""
    names = ("interface_id", "addresses", "instance_id", "subnet_id", "vpc_id")
    listed = [
        dict(zip(names, row, strict=False)) | {"tags": [{"key": "Name", "value": row[5]}]}
        for row in rows
    ]
    texts = dict.fromkeys(names, pl.String)
    return pl.DataFrame(listed, schema={**texts, "addresses": pl.List(pl.String), "tags": TAGS})


TWO_VPCS = inventory(
    ("eni-1", [SAME, "2001:db8::5"], "i-1", "subnet-1", "vpc-1", "web-1"),
    ("eni-2", [SAME], "i-2", "subnet-2", "vpc-2", "db-1"),
    ("eni-3", ["10.0.0.6"], None, "subnet-1", "vpc-1", "web-2"),
)
NOTHING = records()


def who(scope: Members) -> list[tuple[str, str]]:
    assert scope.pairs is not None
    return sorted(scope.pairs.rows())


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("any", Entry("any", "any")),
        (" 10.0.0.5 ", Entry("network", "10.0.0.5/32")),
        ("10.0.0.5/16", Entry("network", "10.0.0.0/16")),
        ("2001:DB8::/32", Entry("network", "2001:db8::/32")),
        ("ENI-0ab", Entry("interface", "eni-0ab")),
        ("i-0ab", Entry("instance", "i-0ab")),
        ("subnet-0ab", Entry("subnet", "subnet-0ab")),
        ("vpc-0ab", Entry("vpc", "vpc-0ab")),
        ("tag:aws:eks:name=A=b*", Entry("tag", "A=b*", "aws:eks:name")),
    ],
)
def test_an_entry_is_told_by_its_form(text: str, entry: Entry) -> None:
    assert parse_entry(text) == entry


@pytest.mark.parametrize("text", ["", "web", "tag:Name", "tag:=web", "10.0.0", "fe80::1%eth0"])
def test_what_is_nobody_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write"):
        parse_entry(text)


@pytest.mark.parametrize(
    ("text", "network", "service", "ports", "protocol"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", None, (0, 65535), None),
        ("192.0.2.9/24:443", "192.0.2.0/24", None, (443, 443), None),
        ("2001:db8::/32", "2001:db8::/32", None, (0, 65535), None),
        ("[2001:db8::]/32:443", "2001:db8::/32", None, (443, 443), None),
        ("[2001:db8::/32]:443", "2001:db8::/32", None, (443, 443), None),
        ("[2001:db8::1]:8000-8100/TCP", "2001:db8::1/128", None, (8000, 8100), 6),
        ("aws:s3", None, "S3", (0, 65535), None),
        ("aws:S3:443", None, "S3", (443, 443), None),
        ("*:53/udp", None, None, (53, 53), 17),
        ("10.0.0.5:5432/tcp", "10.0.0.5/32", None, (5432, 5432), 6),
        ("10.0.0.0/8:*/47", "10.0.0.0/8", None, (0, 65535), 47),
    ],
)
def test_what_is_allowed_has_one_grammar(
    text: str, network: str | None, service: str | None, ports: tuple[int, int], protocol: int
) -> None:
    assert parse_allowed(text) == Allowed(text, network, service, *ports, protocol)


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "x:1", ":443", "10.0.0.5:", "10.0.0.5:90-80", "10.0.0.5:70000", "10.0.0.5/tcp"),
        *("10.0.0.5:1/no", "10.0.0.5:1/256", "2001:db8::/32:443", "aws:", "aws:S3/tcp"),
    ],
)
def test_what_does_not_say_what_is_allowed_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_allowed(text)


def test_any_is_everybody_and_addresses_need_nothing_else() -> None:
    assert members(["10.0.0.5", "any"], NOTHING, None) is EVERYBODY
    for entries, networks in (([], ()), (["10.0.0.5", "10.0.0.5/32"], ("10.0.0.5/32",))):
        found = members(entries, NOTHING, None)
        assert (found.networks, found.pairs, found.public) == (networks, None, False)


def test_public_and_private_are_every_address_of_the_sort() -> None:
    frame = pl.LazyFrame(
        {
            "interface_id": ["eni-1"] * 4,
            "address": ["10.0.0.5", "203.0.113.9", "2001:db8::1", None],
        }
    )
    for entry, found in (
        ("public", [False, True, True, False]),
        ("private", [True, False, False, False]),
    ):
        held = members([entry], NOTHING, None).hold("address")
        assert frame.select(held.alias("held")).collect()["held"].to_list() == found


@pytest.mark.parametrize(
    ("entry", "interfaces"),
    [
        ("eni-2", ["eni-2"]),
        ("i-1", ["eni-1"]),
        ("subnet-1", ["eni-1", "eni-3"]),
        ("vpc-2", ["eni-2"]),
        ("tag:Name=web*", ["eni-1", "eni-3"]),
        ("tag:Name=web-[13]", ["eni-1"]),
    ],
)
def test_an_inventory_says_which_interfaces_and_addresses(
    entry: str, interfaces: list[str]
) -> None:
    found = members([entry], NOTHING, TWO_VPCS)
    owned = {row[0]: row[1] for row in TWO_VPCS.select("interface_id", "addresses").rows()}
    assert who(found) == sorted((each, ip) for each in interfaces for ip in owned[each])


def test_the_same_address_in_another_vpc_is_somebody_else() -> None:
    scope = members(["vpc-1"], NOTHING, TWO_VPCS)
    flows = records(seen("eni-1", SAME, "192.0.2.1"), seen("eni-2", SAME, "192.0.2.1"))
    assert flows.select(scope.hold("srcaddr")).collect().to_series().to_list() == [True, False]


def test_records_say_who_where_there_is_no_inventory() -> None:
    own = {"instance_id": "i-9", "subnet_id": "subnet-9", "vpc_id": "vpc-9"}
    flows = records(
        seen("eni-9", "10.9.0.1", "192.0.2.1", **own),
        seen("eni-9", "192.0.2.2", "10.9.0.1", **own),
        seen("eni-9", "2001:db8::9", "2001:db8::a", **own),
        seen("eni-9", "2001:db8::b", "2001:db8::9", **own),
        seen("eni-8", "10.9.0.2", "10.9.0.1"),
    )
    for entry in ("eni-9", "i-9", "subnet-9", "vpc-9"):
        assert who(members([entry], flows, None)) == [
            ("eni-9", "10.9.0.1"),
            ("eni-9", "2001:db8::9"),
        ]


def test_a_nat_gateway_is_the_address_of_most_of_its_records() -> None:
    inside = [seen("eni-7", f"10.7.1.{n}", "192.0.2.1") for n in range(3)]
    outside = [seen("eni-7", "10.7.0.7", f"192.0.2.{n}") for n in range(9)]
    assert who(members(["eni-7"], records(*inside, *outside), None)) == [("eni-7", "10.7.0.7")]


def test_with_one_peer_the_private_address_is_the_interfaces() -> None:
    flows = records(seen("eni-6", "203.0.113.1", "10.6.0.6"))
    assert who(members(["eni-6"], flows, None)) == [("eni-6", "10.6.0.6")]


def test_records_add_what_the_inventory_does_not_know_yet() -> None:
    flows = records(
        seen("eni-4", "10.0.0.4", "192.0.2.1", subnet_id="subnet-1"),
        seen("eni-4", "10.0.0.4", "192.0.2.2", subnet_id="subnet-1"),
    )
    assert ("eni-4", "10.0.0.4") in who(members(["subnet-1"], flows, TWO_VPCS))


def test_a_tag_needs_an_inventory() -> None:
    with pytest.raises(UsageError, match=r"tag:Name=web\* needs an inventory: run `flowlake inv"):
        members(["tag:Name=web*"], NOTHING, None)


@pytest.mark.parametrize("entry", ["eni-404", "vpc-404", "tag:Name=nobody"])
def test_an_id_that_nobody_has_seen_is_a_warning(
    entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert who(members([entry, "i-2"], NOTHING, TWO_VPCS)) == [("eni-2", SAME)]
    assert [entry in record.message for record in caplog.records] == [True]
