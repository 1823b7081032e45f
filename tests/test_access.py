"""Who reaches a watched port, and servers that open what they may not: told from the answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowlake
from flowlake.detections.access import forbidden_endpoint, watched_port
from flowlake.fields import polars_schema
from flowlake.scopes import NOBODY, Members, members, parse_allowed
from tests.test_alarms import deliver_object

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER, CLIENT, OUTSIDE = "10.0.3.17", "10.0.9.9", "198.51.100.7"
TCP, UDP, ICMP, GRE = 6, 17, 1, 47
WATCHED = Members((f"{SERVER}/32",))

Rows = list[dict[str, Any]]


def row(
    source: str, sport: int, target: str, dport: int, minute: float = 0, **more: Any
) -> dict[str, Any]:
    begin = START + timedelta(minutes=minute)
    return {
        "interface_id": "eni-a",
        "srcaddr": source,
        "srcport": sport,
        "dstaddr": target,
        "dstport": dport,
        "protocol": TCP,
        "packets": 8,
        "bytes": 900,
        "action": "ACCEPT",
        "start_time": begin,
        "end_time": begin + timedelta(seconds=30),
        **more,
    }


def both(source: str, sport: int, target: str, dport: int, minute: float = 0, **more: Any) -> Rows:
    """The records of both directions of a connection, the answer's first."""
    return [
        row(target, dport, source, sport, minute, **more),
        row(source, sport, target, dport, minute, **more),
    ]


def flows(*groups: Rows) -> pl.LazyFrame:
    rows = [each for group in groups for each in group]
    return pl.LazyFrame(rows, schema=polars_schema())


def told(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    return found.select("who", "whom", "flows", "peak").rows()


def watch(records: pl.LazyFrame, **more: Any) -> list[tuple[Any, ...]]:
    given = {"ports": (22, 3389), "targets": WATCHED, **more}
    return told(watched_port(records, **given))


def test_who_reaches_a_watched_port() -> None:
    records = flows(
        both(CLIENT, 50_000, SERVER, 22),
        both(CLIENT, 50_001, SERVER, 3389, 10),
        both(CLIENT, 50_002, SERVER, 443),
        both(CLIENT, 50_003, "10.0.3.18", 22),
        both(OUTSIDE, 50_004, SERVER, 22),
    )
    found = watched_port(records, ports=(22, 3389), targets=WATCHED)
    assert told(found) == [(CLIENT, SERVER, 4, 2), (OUTSIDE, SERVER, 2, 1)]
    first = found.row(0, named=True)
    assert first["first_seen"] == START
    assert first["last_seen"] == START + timedelta(minutes=10, seconds=30)
    assert first["why"] == (
        f"{CLIENT} opened 2 connections to ports 22, 3389 of {SERVER} in 10 minutes."
    )


def test_what_the_watched_do_themselves_is_not_told() -> None:
    records = flows(
        both(SERVER, 50_000, CLIENT, 22),
        [row(OUTSIDE, 22, SERVER, 51_000)],
        [row(OUTSIDE, 22, SERVER, 51_001, action="REJECT")],
    )
    assert watch(records) == []


def test_only_answers_are_no_opening() -> None:
    assert watch(flows([row(SERVER, 22, CLIENT, 50_000)])) == []
    assert watch(flows([row(CLIENT, 50_000, SERVER, 22)])) == [(CLIENT, SERVER, 1, 1)]


def test_an_hour_of_rest_ends_an_incident() -> None:
    records = flows(
        both(CLIENT, 50_000, SERVER, 22),
        both(CLIENT, 50_001, SERVER, 22, 60.5),
        both(CLIENT, 50_002, SERVER, 22, 121.1),
    )
    assert watch(records) == [(CLIENT, SERVER, 4, 2), (CLIENT, SERVER, 2, 1)]


def test_the_same_sockets_again_are_another_incident() -> None:
    records = flows(both(CLIENT, 50_000, SERVER, 22), both(CLIENT, 50_000, SERVER, 22, 300))
    assert watch(records) == [(CLIENT, SERVER, 2, 1), (CLIENT, SERVER, 2, 1)]


def test_refused_ones_are_told_when_asked_for() -> None:
    records = flows([row(OUTSIDE, 50_000, SERVER, 22, action="REJECT", packets=1, bytes=44)])
    assert watch(records) == []
    assert watch(records, action="any") == [(OUTSIDE, SERVER, 1, 1)]


def test_sources_and_who_may() -> None:
    records = flows(both(CLIENT, 50_000, SERVER, 22), both(OUTSIDE, 50_001, SERVER, 22))
    assert watch(records, ignore=Members((f"{CLIENT}/32",))) == [(OUTSIDE, SERVER, 2, 1)]
    assert watch(records, sources=Members(("10.0.0.0/8",))) == [(CLIENT, SERVER, 2, 1)]
    assert watch(records, targets=NOBODY) == []


def test_udp_is_not_watched() -> None:
    assert watch(flows(both(CLIENT, 50_000, SERVER, 22, protocol=UDP))) == []


def test_the_same_address_in_another_vpc_is_somebody_else() -> None:
    mine = pl.DataFrame({"interface_id": ["eni-a"], "address": [SERVER]})
    records = flows(
        both(CLIENT, 50_000, SERVER, 22),
        both(OUTSIDE, 50_001, SERVER, 22, interface_id="eni-b"),
    )
    assert watch(records, targets=Members(pairs=mine)) == [(CLIENT, SERVER, 2, 1)]


def test_an_interface_is_known_by_the_address_most_of_its_records_have() -> None:
    """The default format, and no inventory."""
    records = flows(
        *(both(f"10.0.9.{n}", 50_000, SERVER, 22, interface_id="eni-x") for n in range(1, 5)),
        both(CLIENT, 50_001, "10.0.3.99", 22),
    )
    found = watch(records, targets=members(["eni-x"], records, None))
    assert [whom for _, whom, _, _ in found] == [SERVER] * 4


def forbid(records: pl.LazyFrame, *allow: str, **more: Any) -> list[tuple[Any, ...]]:
    given = {"servers": WATCHED, "allow": tuple(map(parse_allowed, allow)), **more}
    return told(forbidden_endpoint(records, **given))


def test_what_a_server_may_not_reach() -> None:
    records = flows(
        both(SERVER, 50_000, OUTSIDE, 443),
        both(SERVER, 50_001, "10.0.7.7", 5432),
        [row(SERVER, 50_002, "203.0.113.5", 25, 5, action="REJECT", packets=1, bytes=44)],
        both(CLIENT, 50_003, OUTSIDE, 443),
    )
    assert forbid(records, "10.0.0.0/8") == [
        (SERVER, OUTSIDE, 2, 1),
        (SERVER, "203.0.113.5", 1, 1),
    ]
    assert forbid(records, "10.0.0.0/8", "*:443", "203.0.113.0/24:1-100/tcp") == []
    assert len(forbid(records)) == 3


@pytest.mark.parametrize(
    "allow",
    ["198.51.100.0/24:80", "198.51.100.0/24:443/udp", "198.51.101.0/24", "aws:S3", "*:444-500"],
)
def test_what_does_not_cover_it(allow: str) -> None:
    assert len(forbid(flows(both(SERVER, 50_000, OUTSIDE, 443)), allow)) == 1


def test_answers_of_a_server_are_no_opening() -> None:
    records = flows(
        both(OUTSIDE, 50_000, SERVER, 443),
        both(OUTSIDE, 1_500, SERVER, 8080),
        [row(SERVER, 443, OUTSIDE, 50_001)],
        [row(SERVER, 443, OUTSIDE, 50_002, action="REJECT")],
        both(OUTSIDE, 0, SERVER, 0, protocol=ICMP),
        [row(OUTSIDE, 443, SERVER, 50_003, action="REJECT", packets=1, bytes=40)],
    )
    assert forbid(records) == []


def test_flags_tell_who_opened() -> None:
    """From one ephemeral port to another nothing else would."""
    records = flows(
        [
            row(SERVER, 60_000, OUTSIDE, 50_000, tcp_flags=2),
            row(OUTSIDE, 50_000, SERVER, 60_000, tcp_flags=18),
            row(OUTSIDE, 60_001, SERVER, 50_001, tcp_flags=2),
            row(SERVER, 50_001, OUTSIDE, 60_001, tcp_flags=18),
        ]
    )
    assert forbid(records) == [(SERVER, OUTSIDE, 2, 1)]


def test_a_tunnel_is_told_and_a_ping_that_nobody_answered() -> None:
    records = flows(
        both(SERVER, 0, OUTSIDE, 0, protocol=GRE),
        [row(SERVER, 0, "203.0.113.5", 0, 1, protocol=ICMP, packets=4, bytes=336)],
    )
    assert [whom for _, whom, _, _ in forbid(records)] == [OUTSIDE, "203.0.113.5"]


def test_amazons_own_addresses_are_not_asked_about() -> None:
    records = flows(both(SERVER, 50_000, "169.254.169.123", 123, protocol=UDP))
    assert forbid(records) == []
    assert len(forbid(records, ignore=())) == 1


def test_aws_services_by_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWLAKE_AWS_RANGES", raising=False)
    records = flows(
        [
            row(SERVER, 50_000, "52.216.1.1", 443, pkt_dst_aws_service="S3"),
            row("52.216.1.1", 443, SERVER, 50_000, pkt_src_aws_service="S3"),
            row(SERVER, 50_001, "52.94.0.1", 443, pkt_dst_aws_service="DYNAMODB"),
            row(SERVER, 50_002, OUTSIDE, 443),
        ]
    )
    assert [whom for _, whom, _, _ in forbid(records, "aws:S3")] == [OUTSIDE, "52.94.0.1"]
    assert [whom for _, whom, _, _ in forbid(records, "aws:amazon:443")] == [OUTSIDE]
    assert len(forbid(records, "aws:amazon:80")) == 3


def test_aws_services_by_the_file_of_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = tmp_path / "ip-ranges.json"
    ranges.write_text(
        '{"prefixes": [{"ip_prefix": "52.216.0.0/15", "region": "us-east-1", "service": "S3", '
        '"network_border_group": "us-east-1"}], "ipv6_prefixes": []}'
    )
    records = flows(both(SERVER, 50_000, "52.216.1.1", 443), both(SERVER, 50_001, OUTSIDE, 443))
    monkeypatch.setenv("FLOWLAKE_AWS_RANGES", str(ranges))
    assert [whom for _, whom, _, _ in forbid(records, "aws:S3")] == [OUTSIDE]
    monkeypatch.delenv("FLOWLAKE_AWS_RANGES")
    assert len(forbid(records, "aws:S3")) == 2


def test_many_endpoints_are_one_incident() -> None:
    def to(count: int) -> pl.LazyFrame:
        return flows(*(both(SERVER, 50_000 + n, f"198.51.100.{n}", 443, n) for n in range(count)))

    assert len(forbid(to(19))) == 19
    assert forbid(to(20)) == [(SERVER, "198.51.100.0/27", 40, 20)]
    found = forbidden_endpoint(to(20), servers=WATCHED, allow=())
    assert found["subject"].to_list() == [f"{SERVER} -> many"]
    assert "20 endpoints, 198.51.100.0:443/tcp first" in found["why"][0]


def test_two_flow_logs_count_once() -> None:
    once = both(SERVER, 50_000, OUTSIDE, 443)
    twice = flows(once, [{**each, "flow_log_id": "fl-2"} for each in once])
    assert forbid(twice) == [(SERVER, OUTSIDE, 4, 1)]


@pytest.mark.parametrize("kind", ["watched", "one endpoint", "many endpoints"])
def test_the_condition_selects_the_evidence(tmp_path: Path, kind: str) -> None:
    """Of a lake, by DuckDB, and no more than that."""
    place, lines = str(tmp_path), []
    count = 25 if kind == "many endpoints" else 1
    at = int(START.timestamp())

    def line(source: str, sport: int, target: str, dport: int) -> str:
        return (
            f"2 123456789012 eni-a {source} {target} {sport} {dport} 6 8 900 {at} {at + 30} "
            "ACCEPT OK"
        )

    for n in range(count):
        lines += [line(SERVER, 50_000 + n, f"198.51.100.{n}", 443)]
        lines += [line(f"198.51.100.{n}", 443, SERVER, 50_000 + n)]
    lines += [line(CLIENT, 50_100, SERVER, 22), line(SERVER, 22, CLIENT, 50_100)]
    lines += [line(CLIENT, 50_100, SERVER, 80), line(SERVER, 80, CLIENT, 50_100)]
    deliver_object(place, 1, lines)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    lake = flowlake.open_lake(f"{place}/lake")
    if kind == "watched":
        found = watched_port(lake.flows(), ports=(22,), targets=WATCHED)
    else:
        found = forbidden_endpoint(lake.flows(), servers=WATCHED, allow=())
    (incident,) = found.to_dicts()
    counted = lake.sql(f"SELECT count(*) FROM flows WHERE {incident['condition']}").fetchall()
    assert counted == [(incident["flows"],)] == [(2 * count,)]


def test_an_address_is_quoted() -> None:
    """Addresses are text of a log that anybody may have written."""
    evil = "10.0.9.9'; DROP TABLE flows; --"
    found = watched_port(flows(both(evil, 50_000, SERVER, 22)), ports=(22,), targets=WATCHED)
    assert "'10.0.9.9''; DROP TABLE flows; --'" in found["condition"][0]
