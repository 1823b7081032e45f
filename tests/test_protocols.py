"""The codes in records: complete, in IANA's spelling, and readable."""

import socket

import pytest

from flowlake.fields import BY_NAME
from flowlake.protocols import (
    ENCRYPTION_STATUS,
    PROTOCOLS,
    TCP_FLAGS,
    TRAFFIC_PATHS,
    describe_tcp_flags,
)


def test_every_assigned_protocol_is_there() -> None:
    assert list(PROTOCOLS) == [*range(148), 253, 254, 255]
    assert all(PROTOCOLS.values())
    assert BY_NAME["protocol"].maximum == max(PROTOCOLS)


def test_protocols_everyone_knows() -> None:
    known = {
        1: "ICMP",
        2: "IGMP",
        4: "IPv4",
        6: "TCP",
        8: "EGP",
        17: "UDP",
        41: "IPv6",
        143: "Ethernet",
    }
    assert {number: PROTOCOLS[number] for number in known} == known


def test_only_the_two_experimental_numbers_share_a_name() -> None:
    assert len({name.lower() for name in PROTOCOLS.values()}) == len(PROTOCOLS) - 1
    assert PROTOCOLS[253] == PROTOCOLS[254]


@pytest.mark.parametrize(
    ("constant", "name"),
    [
        ("IPPROTO_HOPOPTS", "HOPOPT"),
        ("IPPROTO_ICMP", "ICMP"),
        ("IPPROTO_IGMP", "IGMP"),
        ("IPPROTO_TCP", "TCP"),
        ("IPPROTO_EGP", "EGP"),
        ("IPPROTO_PUP", "PUP"),
        ("IPPROTO_UDP", "UDP"),
        ("IPPROTO_IPV6", "IPv6"),
        ("IPPROTO_RSVP", "RSVP"),
        ("IPPROTO_GRE", "GRE"),
        ("IPPROTO_ESP", "ESP"),
        ("IPPROTO_AH", "AH"),
        ("IPPROTO_ICMPV6", "IPv6-ICMP"),
        ("IPPROTO_PIM", "PIM"),
        ("IPPROTO_SCTP", "SCTP"),
        ("IPPROTO_UDPLITE", "UDPLite"),
    ],
)
def test_numbers_agree_with_the_operating_system(constant: str, name: str) -> None:
    number = getattr(socket, constant, None)
    if number is None:
        pytest.skip(f"socket has no {constant} here")
    assert PROTOCOLS[number] == name


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (0, "none"),
        (1, "FIN"),
        (2, "SYN"),
        (3, "SYN,FIN"),
        (4, "RST"),
        (6, "SYN,RST"),
        (7, "SYN,FIN,RST"),
        (16, "ACK"),
        (17, "FIN,ACK"),
        (18, "SYN-ACK"),
        (19, "SYN-ACK,FIN"),
        (22, "SYN-ACK,RST"),
        (23, "SYN-ACK,FIN,RST"),
        (255, "SYN-ACK,FIN,RST,PSH,URG,ECE,CWR"),
    ],
)
def test_tcp_flags_read_well(mask: int, text: str) -> None:
    assert describe_tcp_flags(mask) == text


def test_each_mask_has_its_own_description() -> None:
    assert len({describe_tcp_flags(mask) for mask in range(256)}) == 256
    assert sum(TCP_FLAGS) == BY_NAME["tcp-flags"].maximum == 255


@pytest.mark.parametrize("mask", [-1, 256])
def test_what_is_not_a_mask_is_refused(mask: int) -> None:
    with pytest.raises(ValueError, match=str(mask)):
        describe_tcp_flags(mask)


def test_codes_of_other_fields() -> None:
    assert list(TRAFFIC_PATHS) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(ENCRYPTION_STATUS) == [0, 1, 2, 3]
    assert "NAT gateway" in TRAFFIC_PATHS[1]
