"""Watched ports and forbidden endpoints, mostly on the default format: no flags, no directions."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flowlake.detections import DETECTIONS, INCIDENTS
from flowlake.detections.access import (
    FORBIDDEN_ENDPOINT,
    WATCHED_PORT,
    forbidden_endpoint,
    watched_port,
)
from flowlake.errors import UsageError
from flowlake.fields import polars_schema
from flowlake.scopes import Members, members, parse_allowed

NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
SERVER, OUTSIDE = "10.0.0.5", "203.0.113.9"
SERVERS = Members(("10.0.0.0/16",))
Record = dict[str, Any]


def record(
    source: str, srcport: int, target: str, dstport: int, *, minute: float = 0, **others: Any
) -> Record:
    """One record of TCP at the interface eni-1, with data, accepted, in a minute after noon."""
    begin = NOON + timedelta(minutes=minute)
    return {
        "interface_id": "eni-1",
        "srcaddr": source,
        "srcport": srcport,
        "dstaddr": target,
        "dstport": dstport,
        "protocol": 6,
        "packets": 10,
        "bytes": 4000,
        "start_time": begin,
        "end_time": begin + timedelta(seconds=50),
        "action": "ACCEPT",
        "log_status": "OK",
        **others,
    }


def both(source: str, srcport: int, target: str, dstport: int, **others: Any) -> list[Record]:
    """A connection that was answered."""
    return [
        record(source, srcport, target, dstport, **others),
        record(target, dstport, source, srcport, **others),
    ]


def refused(source: str, srcport: int, target: str, dstport: int, **others: Any) -> Record:
    """A SYN that a security group or a network ACL stopped."""
    said: Record = {"action": "REJECT", "packets": 1, "bytes": 44} | others
    return record(source, srcport, target, dstport, **said)


def flows(records: Iterable[Record]) -> pl.LazyFrame:
    return pl.LazyFrame(list(records), schema=polars_schema())


def forbidden(records: Iterable[Record], *allow: str, servers: Members = SERVERS) -> pl.DataFrame:
    allowed = [parse_allowed(each) for each in allow]
    return forbidden_endpoint(flows(records), servers=servers, allow=allowed)


def watched(records: Iterable[Record], **parameters: Any) -> pl.DataFrame:
    given: dict[str, Any] = {"ports": (22, 3389), "targets": SERVERS} | parameters
    return watched_port(flows(records), **given)


def evidence(records: Sequence[Record], incident: dict[str, Any]) -> int:
    """How many records the incident's condition selects between its first and its last."""
    condition = incident["condition"]
    selected = pl.SQLContext(flows=flows(records)).execute(
        f"SELECT * FROM flows WHERE {condition}", eager=True
    )
    inside = pl.col("start_time").is_between(incident["first_seen"], incident["last_seen"])
    return selected.filter(inside).height


def test_a_connection_to_a_watched_port_is_an_incident() -> None:
    seen = [*both(OUTSIDE, 50000, SERVER, 22), *both(OUTSIDE, 50001, SERVER, 22, minute=30)]
    others = [*both(OUTSIDE, 50002, SERVER, 443), *both(OUTSIDE, 50003, "192.0.2.1", 22)]
    found = watched([*seen, *others])
    assert found.schema == INCIDENTS
    (incident,) = found.to_dicts()
    assert incident["subject"] == "203.0.113.9 -> 10.0.0.5:22"
    assert (incident["who"], incident["whom"]) == (OUTSIDE, SERVER)
    assert incident["first_seen"] == NOON
    assert incident["last_seen"] == NOON + timedelta(minutes=30, seconds=50)
    assert (incident["flows"], incident["packets"], incident["bytes"]) == (4, 40, 16000)
    assert incident["peak"] == 2
    assert json.loads(incident["counts"]) == {"connections": 2, "answered": 2}
    assert incident["why"] == (
        "203.0.113.9 connected 2 times to TCP port 22 (ssh) of 10.0.0.5, which is watched: "
        "2 answered."
    )
    assert evidence([*seen, *others], incident) == 4


def test_an_hour_of_silence_ends_an_incident() -> None:
    apart = [both(OUTSIDE, 50000 + n, SERVER, 22, minute=n) for n in (0, 59, 121)]
    found = watched(each for pair in apart for each in pair)
    assert [json.loads(each)["connections"] for each in found["counts"]] == [2, 1]
    assert found["subject"].n_unique() == 1


def test_a_server_that_uses_a_watched_port_itself_is_no_target() -> None:
    """It is the client of 443, whatever its own port; and its ssh to others is not to it."""
    assert watched(both(SERVER, 3389, OUTSIDE, 443)).is_empty()
    assert watched(both(SERVER, 50000, "192.0.2.1", 22)).is_empty()
    assert watched([record(SERVER, 50000, OUTSIDE, 22, protocol=17)]).is_empty()


def test_refused_connections_count_if_asked_for() -> None:
    knocked = [refused(OUTSIDE, 50000, SERVER, 22)]
    assert watched(knocked).is_empty()
    (incident,) = watched(knocked, action="any").to_dicts()
    assert json.loads(incident["counts"]) == {"connections": 1, "refused": 1}


def test_sources_and_exceptions() -> None:
    seen = [*both(OUTSIDE, 50000, SERVER, 22), *both("192.0.2.7", 50000, SERVER, 22)]
    only = watched(seen, sources=Members(("192.0.2.0/24",)))
    assert only["who"].to_list() == ["192.0.2.7"]
    left = watched(seen, ignore=Members(("192.0.2.0/24",)))
    assert left["who"].to_list() == [OUTSIDE]


def test_the_same_private_address_in_another_vpc_is_somebody_else() -> None:
    here = both(OUTSIDE, 50000, SERVER, 22)
    there = [each | {"interface_id": "eni-2"} for each in both(OUTSIDE, 50001, SERVER, 22)]
    pairs = pl.DataFrame({"interface_id": ["eni-2"], "address": [SERVER]})
    (incident,) = watched([*here, *there], targets=Members(pairs=pairs)).to_dicts()
    assert incident["flows"] == 2
    assert evidence([*here, *there], incident) == 2
    (incident,) = forbidden(
        [*both(SERVER, 50000, OUTSIDE, 443), *[e | {"interface_id": "eni-2"} for e in here]],
        servers=Members(pairs=pairs.with_columns(interface_id=pl.lit("eni-1"))),
    ).to_dicts()
    assert incident["flows"] == 2


INVENTORY = pl.DataFrame(
    {
        "interface_id": ["eni-1"],
        "addresses": [[SERVER]],
        "instance_id": ["i-1"],
        "subnet_id": ["subnet-1"],
        "vpc_id": ["vpc-1"],
        "tags": [[{"key": "Name", "value": "web-1"}]],
    }
)


@pytest.mark.parametrize(
    "entry", ["10.0.0.5", "10.0.0.0/24", "eni-1", "i-1", "subnet-1", "vpc-1", "tag:Name=web*"]
)
def test_the_default_format_with_an_inventory_takes_every_kind_of_entry(entry: str) -> None:
    seen = [*both(OUTSIDE, 50000, SERVER, 22), *both(SERVER, 50000, "192.0.2.1", 443)]
    scope = members([entry], flows(seen), INVENTORY)
    assert watched(seen, targets=scope)["who"].to_list() == [OUTSIDE]
    assert forbidden(seen, servers=scope)["whom"].to_list() == ["192.0.2.1"]


def test_what_is_not_on_the_list_is_an_incident() -> None:
    seen = both(SERVER, 50000, OUTSIDE, 6667)
    fine = [*both(SERVER, 50001, "192.0.2.1", 443), *both(SERVER, 50002, "10.0.9.9", 5432)]
    found = forbidden([*seen, *fine], "192.0.2.0/24:443", "10.0.0.0/8")
    assert found.schema == INCIDENTS
    (incident,) = found.to_dicts()
    assert incident["subject"] == "10.0.0.5 -> 203.0.113.9:6667/tcp"
    assert (incident["who"], incident["whom"], incident["peak"]) == (SERVER, OUTSIDE, 1)
    assert incident["why"] == (
        "10.0.0.5 connected once to TCP port 6667 (irc) of 203.0.113.9, which nobody "
        "allowed: 1 answered."
    )
    assert evidence([*seen, *fine], incident) == incident["flows"] == 2


@pytest.mark.parametrize(
    ("allow", "found"),
    [
        ("203.0.113.0/24", 0),
        ("203.0.113.9:443", 0),
        ("203.0.113.9:400-500/tcp", 0),
        ("*:443", 0),
        ("203.0.113.9:444", 1),
        ("203.0.113.9:443/udp", 1),
        ("203.0.113.10", 1),
    ],
)
def test_an_entry_covers_address_port_and_protocol(allow: str, found: int) -> None:
    assert forbidden(both(SERVER, 50000, OUTSIDE, 443), allow).height == found


def test_refused_and_unanswered_attempts_count() -> None:
    tried = [refused(SERVER, 50000, OUTSIDE, 6667), refused(SERVER, 50001, OUTSIDE, 25)]
    (incident, other) = forbidden(tried).to_dicts()
    assert json.loads(incident["counts"]) == {"connections": 1, "endpoints": 1, "refused": 1}
    assert "refused" in other["why"]
    assert forbidden([refused(SERVER, 50000, OUTSIDE, 6667, action="ACCEPT")]).height == 1


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(both(OUTSIDE, 50000, SERVER, 443), id="to a client"),
        pytest.param(both(OUTSIDE, 50000, SERVER, 8080), id="from a port of its own"),
        pytest.param([record(SERVER, 443, OUTSIDE, 50000)], id="one direction"),
        pytest.param([record(SERVER, 9999, OUTSIDE, 50000)], id="one direction, any port"),
        pytest.param([record(SERVER, 9999, OUTSIDE, 20000)], id="one direction, low ports"),
        pytest.param([refused(SERVER, 443, OUTSIDE, 50000)], id="late, refused"),
        pytest.param([refused(SERVER, 9999, OUTSIDE, 50000)], id="late, refused, any port"),
        pytest.param([record(OUTSIDE, 443, SERVER, 50000)], id="only answers to it"),
        pytest.param([record(SERVER, 53, OUTSIDE, 40000, protocol=17)], id="udp"),
        pytest.param([record(SERVER, 0, OUTSIDE, 0, protocol=1)], id="ping"),
    ],
)
def test_replies_of_a_server_are_no_openings(answers: list[Record]) -> None:
    assert forbidden(answers).is_empty()


def test_a_flag_tells_where_ports_do_not() -> None:
    opened = record(SERVER, 9999, OUTSIDE, 50000, tcp_flags=3)
    assert forbidden([opened])["whom"].to_list() == [OUTSIDE]
    answered = both(SERVER, 443, OUTSIDE, 50000)
    answered[0]["tcp_flags"], answered[1]["tcp_flags"] = 2, 18
    assert forbidden(answered)["whom"].to_list() == [OUTSIDE]


def test_one_way_traffic_counts() -> None:
    assert forbidden([record(SERVER, 50000, OUTSIDE, 514, protocol=17)]).height == 1


@pytest.mark.parametrize("local", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "224.0.0.251"])
def test_local_services_may_be_reached(local: str) -> None:
    own = Members(("10.0.0.0/16", "2001:db8::/32"))
    assert forbidden(both("2001:db8::5", 50000, local, 80), servers=own).is_empty()


def test_many_endpoints_are_one_incident() -> None:
    twenty = [pair for n in range(20) for pair in both(SERVER, 50000 + n, f"203.0.113.{n}", 25)]
    assert forbidden(twenty).height == 20
    more = [*twenty, *both(SERVER, 51000, "203.0.113.20", 25)]
    elsewhere = both("10.0.0.6", 50000, OUTSIDE, 25)
    again = both(SERVER, 52000, OUTSIDE, 25, minute=180)
    seen = [*more, *elsewhere, *again]
    found = {each["subject"]: each for each in forbidden(seen).to_dicts()}
    assert list(found) == [
        *("10.0.0.6 -> 203.0.113.9:25/tcp", "10.0.0.5 -> 203.0.113.9:25/tcp"),
        "10.0.0.5 -> many endpoints",
    ]
    many = found["10.0.0.5 -> many endpoints"]
    assert (many["whom"], many["peak"], many["flows"]) == (None, 21, 42)
    assert json.loads(many["counts"])["list"][0] == "203.0.113.0:25/tcp"
    assert evidence(seen, many) == 42


def test_the_packets_own_addresses_count_behind_nat() -> None:
    behind: Record = {"pkt_srcaddr": "10.0.1.7", "pkt_dstaddr": OUTSIDE}
    (incident,) = forbidden([record("10.0.0.5", 50000, OUTSIDE, 25, **behind)]).to_dicts()
    assert incident["who"] == "10.0.1.7"
    assert evidence([record("10.0.0.5", 50000, OUTSIDE, 25, **behind)], incident) == 1


def test_a_service_of_aws_by_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWLAKE_AWS_RANGES", raising=False)
    s3 = both(SERVER, 50000, "198.51.100.1", 443)
    s3[0]["pkt_dst_aws_service"] = "S3"
    ec2 = both(SERVER, 50001, "198.51.100.2", 443)
    ec2[1]["pkt_src_aws_service"] = "EC2"
    seen = [*s3, *ec2, *both(SERVER, 50002, OUTSIDE, 443)]
    assert sorted(forbidden(seen, "aws:S3:443")["whom"]) == ["198.51.100.2", OUTSIDE]
    assert forbidden(seen, "aws:AMAZON")["whom"].to_list() == [OUTSIDE]
    assert forbidden(seen, "aws:S3:80").height == 3


def test_a_service_of_aws_by_its_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = both(SERVER, 50000, "198.51.100.1", 443)
    monkeypatch.delenv("FLOWLAKE_AWS_RANGES", raising=False)
    with pytest.raises(UsageError, match="FLOWLAKE_AWS_RANGES"):
        forbidden(seen, "aws:S3")
    ranges = {
        "prefixes": [{"ip_prefix": "198.51.100.0/24", "service": "S3", "region": "eu-west-1"}],
        "ipv6_prefixes": [],
    }
    (tmp_path / "ranges.json").write_text(json.dumps(ranges))
    monkeypatch.setenv("FLOWLAKE_AWS_RANGES", str(tmp_path / "ranges.json"))
    assert forbidden(seen, "aws:S3").is_empty()
    assert forbidden(seen, "aws:DYNAMODB").height == 1


def test_nothing_is_nothing() -> None:
    assert watched([]).schema == forbidden([]).schema == INCIDENTS
    assert forbidden(
        [record(SERVER, 50000, OUTSIDE, 443, start_time=None, end_time=None)]
    ).is_empty()


def test_they_are_detections() -> None:
    assert {WATCHED_PORT.kind, FORBIDDEN_ENDPOINT.kind} <= {each.kind for each in DETECTIONS}
