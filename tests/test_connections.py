"""Who opened a connection and what came of it, from records in any order and seen twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowlake.detections.connections import connections
from flowlake.fields import polars_schema
from flowlake.scopes import Members

START = datetime(2026, 1, 15, 10, tzinfo=UTC)
CLIENT, SERVER = "198.51.100.7", "10.0.3.17"

Row = dict[str, Any]


def record(
    source: str,
    target: str,
    srcport: int,
    dstport: int,
    size: tuple[int, int] = (1, 44),
    at: float = 0,
    **more: Any,
) -> Row:
    seen = START + timedelta(seconds=at)
    return {
        "interface_id": "eni-1",
        "srcaddr": source,
        "dstaddr": target,
        "srcport": srcport,
        "dstport": dstport,
        "protocol": 6,
        "packets": size[0],
        "bytes": size[1],
        "start_time": seen,
        "end_time": seen,
        "action": "ACCEPT",
        **more,
    }


def lake(rows: list[Row]) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema=polars_schema()).lazy()


def told(rows: list[Row], **how: Any) -> pl.DataFrame:
    found = connections(lake(rows), **how).collect()
    return found.sort("client", "client_port", "server", "server_port", "protocol", "first_seen")


def pair(sent: tuple[int, int], got: tuple[int, int] | None, **more: Any) -> list[Row]:
    rows = [record(CLIENT, SERVER, 50_000, 8081, sent, **more)]
    return rows + ([record(SERVER, CLIENT, 8081, 50_000, got, **more)] if got else [])


REFUSED_ANSWER = [
    record(CLIENT, SERVER, 50_000, 8081),
    record(SERVER, CLIENT, 8081, 50_000, action="REJECT"),
]
CLOSED_BY_FLAGS = [
    record(CLIENT, SERVER, 50_000, 8081, (3, 180), tcp_flags=2),
    record(SERVER, CLIENT, 8081, 50_000, (2, 104), tcp_flags=4),
]
PROBED_BY_FIN = [
    record(CLIENT, SERVER, 50_000, 8081, (1, 40), tcp_flags=1),
    record(SERVER, CLIENT, 8081, 50_000, (1, 40), tcp_flags=4),
]
OUTCOMES: dict[str, tuple[list[Row], str]] = {
    "refused": (pair((1, 44), None, action="REJECT"), "refused"),
    "the answer refused": (REFUSED_ANSWER, "refused"),
    "seven SYNs": (pair((7, 420), None), "unanswered"),
    "one way with data": (pair((7, 4200), None), "unknown"),
    "reset": (pair((1, 60), (1, 40)), "reset"),
    "reset three times": (pair((3, 156), (3, 120)), "reset"),
    "reset, payload only": (pair((1, 0), (1, 0)), "reset"),
    "reset, whole frames": (pair((1, 74), (1, 60)), "reset"),
    "reset by flags": (CLOSED_BY_FLAGS, "reset"),
    "SYN, SYN-ACK, RST": (pair((2, 84), (1, 44)), "answered"),
    "a health check": (pair((4, 220), (2, 112)), "answered"),
    "kept alive": (pair((1, 52), (1, 52)), "answered"),
    "data": (pair((5, 700), (5, 900)), "answered"),
    "UDP in vain": (pair((2, 900), None, protocol=17), "unanswered"),
    "UDP in vain, with flags": (pair((2, 900), None, protocol=17, tcp_flags=0), "unanswered"),
    "UDP": (pair((1, 60), (1, 90), protocol=17), "answered"),
    "the rest of a connection": (pair((1, 40), None, tcp_flags=1), "unknown"),
    "a FIN reset": (PROBED_BY_FIN, "reset"),
    "a connection reset": (
        [{**PROBED_BY_FIN[0], "packets": 2, "bytes": 80}, PROBED_BY_FIN[1]],
        "answered",
    ),
    "two resets": (pair((1, 40), (1, 40), tcp_flags=4), "answered"),
}


@pytest.mark.parametrize(("rows", "outcome"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_came_of_it(rows: list[Row], outcome: str) -> None:
    found = told(rows).row(0, named=True)
    assert (found["client"], found["server"]) == (CLIENT, SERVER)
    assert found["outcome"] == outcome
    assert found["failed"] == (outcome in ("refused", "unanswered", "reset"))


@pytest.mark.parametrize(("ports", "outcome"), [(2, "unknown"), (3, "unanswered")])
def test_lone_packets_without_a_syn_are_tries_where_there_are_several(
    ports: int, outcome: str
) -> None:
    """They are the rests of connections else, and however many of them have the same port."""
    rows = [record(CLIENT, SERVER, 50_000 + n, 80 + n % ports, tcp_flags=1) for n in range(6)]
    assert set(told(rows)["outcome"]) == {outcome}


def test_ipv6_has_a_longer_header() -> None:
    ends = ("2001:db8::7", "2001:db8:1::5", 50_000, 8081)
    assert told([record(*ends, (1, 80))])["outcome"].item() == "unanswered"
    back = record(ends[1], ends[0], ends[3], ends[2], (1, 60))
    assert told([record(*ends, (1, 80)), back])["outcome"].item() == "reset"


@pytest.mark.parametrize("client", ["9.9.9.9", "99.9.9.9"])
def test_who_asks_from_one_port_on_many_is_the_client(client: str) -> None:
    ports = [21, 22, 23, 80, 8000, 40_000, 50_000]
    rows = [record(client, SERVER, 53, port) for port in ports]
    rows += [record(SERVER, client, port, 53, (1, 40)) for port in ports]
    assert set(told(rows)["client"]) == {client}


def test_a_reserved_port_that_faces_many_is_a_servers() -> None:
    ports = [1433, 3306, *range(20_000, 20_040)]
    rows = [record(SERVER, CLIENT, 443, port, action="REJECT") for port in ports]
    assert set(told(rows)["server"]) == {SERVER}
    assert set(told(rows)["outcome"]) == {"unknown"}


def test_who_opens_the_others_opens_what_is_not_clear() -> None:
    rows = [record(CLIENT, SERVER, 50_000 + port, port, (1, 0)) for port in range(20, 40)]
    high = range(51_000, 51_020)
    rows += [record(CLIENT, SERVER, 50_000, port, (1, 0), at=9) for port in high]
    rows += [record(SERVER, CLIENT, port, 50_000, (1, 0)) for port in high]
    assert set(told(rows)["client"]) == {CLIENT}


def test_without_ports_it_is_who_has_many_peers_that_asks() -> None:
    hosts = [f"10.0.5.{n}" for n in range(1, 20)]
    rows = [record(CLIENT, host, 0, 0, protocol=1) for host in hosts]
    rows += [record(host, CLIENT, 0, 0, protocol=1) for host in hosts]
    assert set(told(rows)["client"]) == {CLIENT}


def test_a_silence_ends_a_connection_if_asked() -> None:
    rows = [record(CLIENT, SERVER, 50_000, 80, at=at) for at in (0, 3600, 7201, 7202)]
    assert told(rows)["flows"].to_list() == [4]
    assert told(rows, idle=timedelta(hours=1))["flows"].to_list() == [2, 2]


def test_members_are_marked_by_the_address_in_the_packet_too() -> None:
    rows = pair((1, 44), None, pkt_srcaddr="203.0.113.5")
    marks = {"known": Members(("203.0.113.5/32",)), "others": Members(("192.0.2.0/24",))}
    found = told(rows, marks=marks).row(0, named=True)
    assert found["client"] == "203.0.113.5"
    assert (found["client_known"], found["server_known"]) == (True, False)
    assert not found["client_others"]


def test_records_without_addresses_are_left_out() -> None:
    assert told([record(CLIENT, SERVER, 1, 2, dstaddr=None)]).is_empty()


RECORDS = st.lists(
    st.builds(
        lambda who, ports, size, at, refused: (who, ports, size, at, refused),
        st.sampled_from([(a, b) for a in "1289" for b in "1289" if a < b]),
        st.tuples(st.sampled_from([40_000, 40_001, 40_002, 2000]), st.sampled_from([22, 80, 443])),
        st.tuples(st.integers(1, 9), st.integers(40, 2000), st.integers(0, 9)),
        st.integers(0, 9),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
Spec = tuple[tuple[str, str], tuple[int, int], tuple[int, int, int], int, bool]


def made(specs: list[Spec], turned: bool = False) -> list[Row]:
    """Records of clients and servers; turned, those that sorted first now sort last."""
    rows = []
    for who, (client_port, server_port), (packets, size, replies), at, refused in specs:
        client, server = (f"10.0.0.{10 - int(n) if turned else n}" for n in who)
        more = {"action": "REJECT" if refused else "ACCEPT"}
        sent, got = (packets, packets * size), (replies, replies * 60)
        rows.append(record(client, server, client_port, server_port, sent, at, **more))
        if replies and not refused:
            rows.append(record(server, client, server_port, client_port, got, at))
    return rows


@given(specs=RECORDS, shuffle=st.randoms(use_true_random=False))
def test_neither_order_nor_names_nor_a_second_interface_matter(specs: Any, shuffle: Any) -> None:
    rows = made(specs)
    found = told(rows)
    assert found["flows"].sum() == len(rows)
    sockets = {
        frozenset({(r["srcaddr"], r["srcport"]), (r["dstaddr"], r["dstport"])}) for r in rows
    }
    assert found.height == len(sockets)
    assert set(found["server_port"]) <= {22, 80, 443}
    packets = found.select(pl.sum_horizontal(pl.sum("packets", "reply_packets"))).item()
    assert packets == sum(row["packets"] for row in rows)

    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    assert_frame_equal(told(shuffled), found)

    second = [{**row, "interface_id": "eni-2"} for row in rows]
    assert_frame_equal(told(rows + second).drop("flows"), found.drop("flows"))

    turned = told(made(specs, turned=True)).with_columns(
        (
            "10.0.0."
            + (10 - pl.col(side).str.split(".").list.last().cast(pl.Int64)).cast(pl.String)
        ).alias(side)
        for side in ("client", "server")
    )
    assert_frame_equal(turned, found, check_row_order=False)
