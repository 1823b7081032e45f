"""Hunting: nothing of an indicator is missed, nothing is there twice, and no text is SQL."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import igzip
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import flowlake
from flowlake import hunting
from flowlake.addresses import address_number, network
from flowlake.cli import app
from flowlake.doors import collect
from flowlake.errors import LakeError, UsageError
from flowlake.fields import polars_schema
from flowlake.hunting import hunt, summarise
from flowlake.indicators import Indicator, parse_indicator, read_indicators
from flowlake.layout import object_key
from flowlake.queries import equip
from flowlake.storage import is_remote, open_storage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = int(NOON.timestamp())
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status instance-id pkt-srcaddr pkt-dstaddr flow-direction"
)
RECORDS = f"""
5 000123456789 eni-a 10.0.0.5 203.0.113.9 40000 443 6 3 300 {AT} {AT + 9} ACCEPT OK i-a 10.0.0.5 203.0.113.9 egress
5 000123456789 eni-a 203.0.113.9 10.0.0.5 443 40000 6 4 4000 {AT + 1} {AT + 9} ACCEPT OK i-a 203.0.113.9 10.0.0.5 ingress
5 000123456789 eni-n 10.0.1.1 198.51.100.7 40001 443 6 1 50 {AT + 2} {AT + 9} ACCEPT OK - 10.0.0.5 198.51.100.7 egress
5 000123456789 eni-b 203.0.113.90 10.0.0.6 5000 22 6 1 40 {AT + 3} {AT + 9} REJECT OK i-b 203.0.113.90 10.0.0.6 ingress
5 000123456789 eni-b 2001:db8::5 2001:db8:0:0:0:0:0:6 5000 22 6 1 60 {AT + 4} {AT + 9} ACCEPT OK i-b - - ingress
5 000123456789 eni-b - - - - - - - {AT + 5} {AT + 9} - NODATA i-b - - -
5 000123456789 eni-b 10.0.0.6 10.0.0.7 22 6000 6 1 70 {AT + 6} {AT + 9} ACCEPT OK i-b 10.0.0.6 10.0.0.7 egress
"""  # noqa: E501


def fill(place: str) -> flowlake.Lake:
    text = f"{HEADER}\n{RECORDS.strip()}\n"
    key = object_key("000123456789", "eu-west-1", "fl-0abc", NOON, "0" * 8)
    open_storage(f"{place}/raw").put(f"{place}/raw/{key}", igzip.compress(text.encode()))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    return flowlake.open_lake(f"{place}/lake")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> flowlake.Lake:
    return fill(str(tmp_path_factory.mktemp("hunting")))


def found(lake: flowlake.Lake, *texts: str, **options: Any) -> list[tuple[str, str, int]]:
    """Indicator, side and second of each record."""
    rows = collect(hunt(lake.connect(), [parse_indicator(text) for text in texts], **options))
    return [
        (row["indicator"], row["side"], int(row["start_time"].timestamp()) - AT)
        for row in rows.to_dicts()
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.5", ("203.0.113.5", "address")),
        (" 203[.]0[.]113[.]5\n", ("203.0.113.5", "address")),
        ("203.0.113[.]5", ("203.0.113.5", "address")),
        ("203(.)0{.}113[dot]5", ("203.0.113.5", "address")),
        ('"203.0.113.5"', ("203.0.113.5", "address")),
        ("2001:0DB8:0:0:0:0:0:1", ("2001:db8::1", "address")),
        ("2001[:]db8[:]:1", ("2001:db8::1", "address")),
        ("[2001:db8::1]", ("2001:db8::1", "address")),
        ("::ffff:203.0.113.5", ("203.0.113.5", "address")),
        ("203.0.113.5/32", ("203.0.113.5", "address")),
        ("203.0.113.77/24", ("203.0.113.0/24", "network")),
        ("203[.]0[.]113[.]0/24", ("203.0.113.0/24", "network")),
        ("2001:DB8::/32", ("2001:db8::/32", "network")),
        ("eni-0123456789ABCDEF0", ("eni-0123456789abcdef0", "interface")),
        ("i-0123456789abcdef0", ("i-0123456789abcdef0", "instance")),
    ],
)
def test_what_an_indicator_may_be(text: str, expected: tuple[str, str]) -> None:
    assert parse_indicator(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com", "203.0.113", "203.0.113.256", "0203.0.113.5", "203.0.113.0/33"),
        *(
            "fe80::1%eth0",
            "vpc-0123",
            "eni-",
            "i-",
            "42",
            "1' OR '1'='1",
            "eni-a'; DROP VIEW flows",
        ),
        *("10.0.0.5'--", "*", "$1", "203.0.113.5\x00"),
    ],
)
def test_what_no_indicator_may_be(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be hunted: give an IPv4"):
        parse_indicator(text)


def test_a_list_of_indicators(tmp_path: Path) -> None:
    path = tmp_path / "iocs.csv"
    path.write_text(
        "\ufeff# seen in March\n203[.]0[.]113[.]5,C2,high\n\n2001:db8::1 # again\n"
        '2001:DB8:0::1\n"203.0.113.0/24",scan\n  # indented\neni-a\n',
        encoding="utf-8",
    )
    assert [each.text for each in read_indicators(path)] == [
        *("203.0.113.5", "2001:db8::1", "203.0.113.0/24", "eni-a")
    ]
    path.write_text("203.0.113.5\n\nevil.example\n")
    with pytest.raises(UsageError, match=r"iocs\.csv, line 3: 'evil\.example' cannot be hunted"):
        read_indicators(path)
    path.write_text("203.0.113.5\n,no indicator\n")
    with pytest.raises(UsageError, match="line 2"):
        read_indicators(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_indicators(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_indicators(tmp_path / "nowhere.txt")


def test_both_directions_newest_first(lake: flowlake.Lake) -> None:
    assert found(lake, "203.0.113.9") == [
        ("203.0.113.9", "source", 1),
        ("203.0.113.9", "destination", 0),
    ]


def test_an_address_behind_nat(lake: flowlake.Lake) -> None:
    """Second 2 has 10.0.0.5 in the packet only; 0 and 1 have it in both, and are there once."""
    assert found(lake, "10.0.0.5") == [
        ("10.0.0.5", "source", 2),
        ("10.0.0.5", "destination", 1),
        ("10.0.0.5", "source", 0),
    ]


@pytest.mark.parametrize(
    ("network", "seconds"),
    [
        ("203.0.113.0/24", [3, 1, 0]),  # not by its text: 203.0.113.9 and .90 alike
        ("203.0.113.0/28", [1, 0]),
        ("203.0.0.0/14", [3, 1, 0]),
        ("203.0.113.88/29", [3]),
        ("10.0.0.0/8", [6, 3, 2, 1, 0]),
        ("0.0.0.0/0", [6, 3, 2, 1, 0]),
        ("2001:db8::/32", [4]),
        ("::/0", [4]),
        ("192.0.2.0/24", []),
    ],
)
def test_networks(lake: flowlake.Lake, network: str, seconds: list[int]) -> None:
    assert [second for _, _, second in found(lake, network)] == seconds


def test_many_networks_are_looked_up_together() -> None:
    """One look for each size of network, however many there are, and every address inside."""
    random = Random(7)
    numbers = [random.getrandbits(bits) for bits in (32, 128) for _ in range(200)]
    cidrs = {"::/0", "0.0.0.0/0", "::/96", "::ffff:0:0/96", "::fffe:0:0/95"}
    for number in numbers:
        bits = 128 if number >> 32 else 32
        length = random.choice((8, 16, bits // 2, bits))
        kind = ipaddress.IPv6Network if bits == 128 else ipaddress.IPv4Network
        cidrs.add(str(kind((number, length), strict=False)))
    near = [number ^ random.getrandbits(12) for number in numbers]
    texts = [str(ipaddress.ip_address(number)) for number in (*near, 0, 1, 2**32 - 1)] + ["none"]
    seen = pl.DataFrame({"place": "srcaddr", "value": texts}).unique()
    seen = seen.with_columns(number=address_number(pl.col("value")))
    frames = list(hunting._inside(seen, sorted(cidrs)))
    sizes = {network(cidr).last - network(cidr).first for cidr in cidrs}
    assert len(frames) == len(sizes) < 12
    mapped = [ipaddress.ip_network(cidr) for cidr in ("0.0.0.0/0", "::ffff:0:0/96")]
    expected = set()
    for cidr in cidrs:
        wanted = ipaddress.ip_network(cidr)
        for text in set(texts) - {"none"}:
            address = ipaddress.ip_address(text)
            if address in wanted or (wanted == mapped[1] and address in mapped[0]):
                expected.add((cidr, "srcaddr", text))
    assert set(pl.concat(frames).rows()) == expected


def test_a_record_within_a_network_is_there_once(lake: flowlake.Lake) -> None:
    assert ("10.0.0.0/24", "both", 6) in found(lake, "10.0.0.0/24")
    assert len(found(lake, "10.0.0.0/24")) == 5


def test_ipv6_however_it_is_written(lake: flowlake.Lake) -> None:
    for text in ("2001:db8::6", "2001:DB8:0:0::6", "2001:0db8:0000:0000:0000:0000:0000:0006"):
        assert found(lake, text) == [("2001:db8::6", "destination", 4)]
    assert found(lake, "2001:0DB8::0005") == [("2001:db8::5", "source", 4)]


def test_interfaces_and_instances(lake: flowlake.Lake) -> None:
    """An interface's records include NODATA, which have no address to be found by."""
    assert found(lake, "eni-b") == [("eni-b", "interface", second) for second in (6, 5, 4, 3)]
    assert found(lake, "i-a") == [("i-a", "instance", 1), ("i-a", "instance", 0)]
    assert found(lake, "eni-nowhere", "i-nowhere") == []


def test_a_record_once_for_each_indicator(lake: flowlake.Lake) -> None:
    assert found(lake, "10.0.0.6", "203.0.113.0/24", "eni-b", "10.0.0.6", action="REJECT") == [
        ("10.0.0.6", "destination", 3),
        ("203.0.113.0/24", "source", 3),
        ("eni-b", "interface", 3),
    ]


def test_top_and_columns(lake: flowlake.Lake) -> None:
    assert [second for _, _, second in found(lake, "10.0.0.0/8", top=2)] == [6, 3]
    assert found(lake, "10.0.0.0/8", top=0) == []
    with pytest.raises(UsageError, match="top"):
        found(lake, "10.0.0.0/8", top=-1)
    with pytest.raises(UsageError, match="nothing to hunt"):
        found(lake)
    relation = hunt(lake.connect(), [parse_indicator("203.0.113.90")])
    [row] = collect(relation).to_dicts()
    assert list(row) == [
        *("indicator", "side", "start_time", "end_time", "srcaddr", "srcport", "dstaddr"),
        *("dstport", "protocol", "keyword", "action", "packets", "bytes", "interface_id"),
        *("instance_id", "account_id", "region", "tcp_flags", "flow_direction", "pkt_srcaddr"),
        *("pkt_dstaddr", "log_status"),
    ]
    assert (row["keyword"], row["bytes"], row["region"]) == ("TCP", 40, "eu-west-1")


def test_a_window_is_kept(lake: flowlake.Lake) -> None:
    connection = lake.connect(since=NOON.replace(second=1), until=NOON.replace(second=3))
    assert collect(hunt(connection, [parse_indicator("10.0.0.5")])).height == 2


def test_text_is_never_sql(lake: flowlake.Lake) -> None:
    """Even where the reader is passed by."""
    for text in ("' OR true --", "x'; DROP VIEW flows; --", "$action", "%", "{place}"):
        for kind in ("interface", "instance"):
            connection = lake.connect()
            assert collect(hunt(connection, [Indicator(text, kind)])).is_empty()
            assert collect(connection.sql("SELECT count(*) FROM flows")).item() == 7


def test_summary_of_an_address(lake: flowlake.Lake) -> None:
    rows = collect(summarise(lake.connect(), [parse_indicator("10.0.0.5")]))
    assert rows.drop("first_seen", "last_seen").rows() == [
        ("10.0.0.5", "203.0.113.9", 443, 6, "TCP", "ACCEPT", 2, 7, 4300, 300, 4000),
        ("10.0.0.5", "198.51.100.7", 443, 6, "TCP", "ACCEPT", 1, 1, 50, 50, 0),
    ]
    assert rows["first_seen"].to_list() == [NOON, NOON.replace(second=2)]
    assert rows["last_seen"].to_list() == [NOON.replace(second=9)] * 2
    connection = lake.connect()
    one = [parse_indicator("10.0.0.5")]
    assert collect(summarise(connection, one, top=1)).height == 1
    assert collect(summarise(connection, one, action="REJECT")).is_empty()
    assert collect(summarise(connection, one, count="eni-n"))["bytes"].to_list() == [50]


def test_summary_of_an_interface() -> None:
    """NODATA is left out; without a direction a private end is the interface's own."""
    with connected(
        [
            {"interface_id": "eni-b", "log_status": "NODATA"},
            one("10.0.0.6", "203.0.113.9", bytes=5),
            one("203.0.113.9", "10.0.0.6", bytes=7),
            one("10.0.0.6", "10.0.0.7", bytes=9),
            one("10.0.0.6", "10.0.0.7", bytes=1, flow_direction="ingress"),
        ]
    ) as connection:
        rows = collect(summarise(connection, [Indicator("eni-b", "interface")]))
    assert rows.select("peer", "flows", "bytes", "bytes_out", "bytes_in").rows() == [
        ("203.0.113.9", 2, 12, 5, 7),
        (None, 1, 9, 0, 0),
        ("10.0.0.6", 1, 1, 0, 1),
    ]


def test_a_network_that_talks_with_itself(lake: flowlake.Lake) -> None:
    rows = collect(summarise(lake.connect(), [parse_indicator("10.0.0.0/24")]))
    inside = rows.filter(peer="10.0.0.7").select("bytes", "bytes_out", "bytes_in")
    assert inside.rows() == [(70, 0, 0)]


def test_on_both_places(place: str) -> None:
    lake = fill(place)
    texts = ("203.0.113.9", "10.0.0.0/24", "2001:db8::6", "eni-b", "i-a", "192.0.2.1")
    here = found(lake, *texts)
    assert len(here) == 2 + 5 + 1 + 4 + 2
    assert found(lake, *texts, remote=True) == here
    assert found(lake, "192.0.2.1", remote=True) == []
    # as Lake.hunt does: on S3 by Polars, and by DuckDB where a network is hunted
    few = [["203.0.113.9"], ["2001:db8::6"], ["eni-b", "i-a"], ["192.0.2.1"]]
    for asked in (texts, [text for text in texts if "/" not in text], *few):
        for summary in (False, True):
            answer = lake.hunt(*asked, summary=summary).pl()
            find = summarise if summary else hunt
            indicators = [parse_indicator(text) for text in asked]
            assert_frame_equal(answer, collect(find(lake.connect(), indicators, top=1000)))
    since = lake.hunt("203.0.113.9", since="2030-01-01").pl()
    assert since.is_empty()


@pytest.mark.parametrize("asked", [["203.0.113.9", "eni-b"], ["10.0.0.0/24"]], ids=["few", "net"])
def test_explain_says_what_reads_the_files(
    place: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where DuckDB has no httpfs
    fill(place)
    by_door = {
        (False, "few"): "DuckDB, from local files",
        (False, "net"): "DuckDB, from local files",
        (True, "few"): "Polars, over S3",
        (True, "net"): "DuckDB, through PyArrow over S3",
    }
    kind = "net" if "/" in asked[0] else "few"
    remote = is_remote(place)
    for words, by in (
        (["hunt", *asked], by_door[remote, kind]),
        (["sql", "SELECT count(*) FROM flows"], by_door[remote, "net"]),
        (["query", "top_talkers"], by_door[remote, "net"]),
    ):
        done = CliRunner().invoke(app, [*words, "--lake", f"{place}/lake", "--explain"])
        assert done.exit_code == 0
        assert re.search(
            rf"[0-9] of [0-9] files can hold the window\.\nRead by {by}\.", done.stdout
        )


def test_a_file_of_a_bucket_that_is_gone(s3: str) -> None:
    lake = fill(s3)
    open_storage(s3).delete(lake.files())
    with pytest.raises(LakeError, match="run `flowlake verify`"):
        lake.hunt("203.0.113.9")
    with pytest.raises(LakeError, match="run `flowlake verify`"):
        collect(lake.sql("SELECT sum(bytes) FROM flows"))


def one(source: str, destination: str, **fields: Any) -> dict[str, Any]:
    return {"interface_id": "eni-b", "srcaddr": source, "dstaddr": destination, **fields}


def connected(rows: Iterable[Mapping[str, Any]]) -> duckdb.DuckDBPyConnection:
    """A connection with these flows, as `Lake.connect` gives one."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    equip(connection)
    flows = pl.DataFrame(list(rows), schema=polars_schema())
    connection.register("flows", flows.to_arrow())
    return connection


POOL = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.10.0.1", "192.0.2.1", "2001:db8::1", "::1", "junk")
ADDRESSES = st.sampled_from((*POOL, None))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "interface_id": st.sampled_from(("eni-a", "eni-b", None)),
            "instance_id": st.sampled_from(("i-a", None)),
            **dict.fromkeys(("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr"), ADDRESSES),
        }
    ),
    max_size=12,
)
HUNTED = st.lists(
    st.sampled_from(
        (
            *POOL[:-1],
            *("10.0.0.0/8", "10.0.0.0/23", "10.0.0.0/31", "0.0.0.0/0", "::/0", "2001:db8::/64"),
            *("eni-a", "i-a", "198.51.100.1"),
        )
    ),
    min_size=1,
    max_size=6,
)


def ends(row: Mapping[str, Any], indicator: str) -> tuple[bool, bool]:
    """Whether an address or network is at a row's source, at its destination; by the standard."""
    wanted = ipaddress.ip_network(indicator)

    def at(*columns: str) -> bool:
        for name in columns:
            try:
                if ipaddress.ip_address(row[name] or "") in wanted:
                    return True
            except ValueError:
                continue
        return False

    return at("srcaddr", "pkt_srcaddr"), at("dstaddr", "pkt_dstaddr")


SIDES = {(True, True): "both", (True, False): "source", (False, True): "destination"}


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    "knobs", [{}, {"LISTED": 0, "RANGES": 0, "POINTS": {}}, {"POINTS": {1: 99, 2: 99}}], ids=str
)
@settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ROWS, hunted=HUNTED)
def test_as_a_plain_filter(
    monkeypatch: pytest.MonkeyPatch,
    remote: bool,
    knobs: dict[str, Any],
    rows: list[dict[str, Any]],
    hunted: list[str],
) -> None:
    for name, value in knobs.items():
        monkeypatch.setattr(hunting, name, value)
    rows = [{**row, "bytes": number} for number, row in enumerate(rows)]
    expected = set()
    for text in hunted:
        for row in rows:
            if text.startswith("eni-"):
                side = "interface" if row["interface_id"] == text else None
            elif text.startswith("i-"):
                side = "instance" if row["instance_id"] == text else None
            else:
                side = SIDES.get(ends(row, text))
            if side:
                expected.add((text, side, row["bytes"]))
    indicators = [parse_indicator(text) for text in hunted]
    with connected(rows) as connection:
        answer = collect(hunt(connection, indicators, remote=remote))
        summed = collect(summarise(connection, indicators, remote=remote))
    got = answer.select("indicator", "side", "bytes").rows()
    assert len(got) == len(set(got))
    assert set(got) == expected
    assert summed["flows"].sum() == len(expected)
    assert summed["bytes"].sum() == sum(number for *_, number in expected)
