"""What is known of addresses elsewhere: files as they are published, and SQL beside Polars."""

import gzip
import ipaddress
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from flowlake import enrichment as face
from flowlake.enrichment import (
    FUNCTIONS,
    Enrichment,
    as_name,
    asn,
    aws_region,
    aws_service,
    country,
    enrichment,
    load_asn,
    load_aws_ranges,
    register_enrichment,
)
from flowlake.errors import UsageError

CSV = """\
192.0.2.0,192.0.2.255,64496,"Example, Inc."
198.51.100.0,198.51.100.127,64497,Half of a network
2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,64498,Six
"""
TSV = """\
192.0.2.0\t192.0.2.255\t64496\tUS\tExample, Inc.
192.0.3.0\t198.51.99.255\t0\tNone\tNot routed
198.51.100.0\t198.51.100.127\t64497\tNL\tHalf of a network
2001:db8::\t2001:db8:0:ffff:ffff:ffff:ffff:ffff\t64498\tKR\tSix
"""
EDGES: dict[str | None, tuple[int, str] | None] = {
    "192.0.1.255": None,
    "192.0.2.0": (64496, "Example, Inc."),
    "192.0.2.255": (64496, "Example, Inc."),
    "192.0.3.0": None,  # iptoasn has it, as announced by no AS
    "198.51.100.127": (64497, "Half of a network"),
    "198.51.100.128": None,
    "2001:db8::": (64498, "Six"),
    "2001:db8:0:ffff:ffff:ffff:ffff:ffff": (64498, "Six"),
    "2001:db8:1::": None,
    "::1": None,
    "0.0.0.0": None,
    "ffff::": None,
    "192.0.2.256": None,
    "not an address": None,
    "": None,
    None: None,
}


def prefix(cidr: str, service: str, region: str) -> dict[str, str]:
    key = "ipv6_prefix" if ":" in cidr else "ip_prefix"
    return {key: cidr, "region": region, "service": service, "network_border_group": region}


AWS = {
    "syncToken": "1767225600",
    "createDate": "2026-01-01-00-00-00",
    "prefixes": [
        prefix("203.0.113.0/25", "S3", "ap-northeast-2"),
        prefix("203.0.113.0/25", "AMAZON", "ap-northeast-2"),
        prefix("203.0.113.0/25", "EC2", "ap-northeast-2"),
        prefix("203.0.113.0/24", "AMAZON", "us-east-1"),
        prefix("203.0.113.64/26", "EC2", "eu-west-1"),
        prefix("198.51.100.0/24", "AMAZON", "GLOBAL"),
        prefix("198.51.100.0/24", "CLOUDFRONT", "GLOBAL"),
    ],
    "ipv6_prefixes": [
        prefix("2001:db8::/32", "AMAZON", "us-east-1"),
        prefix("2001:db8:7::/48", "DYNAMODB", "us-west-2"),
    ],
}
OF_AWS: dict[str | None, tuple[str, str] | None] = {
    "203.0.112.255": None,
    "203.0.113.0": ("S3", "ap-northeast-2"),  # before EC2 and AMAZON, which list it too
    "203.0.113.63": ("S3", "ap-northeast-2"),
    "203.0.113.64": ("EC2", "eu-west-1"),  # more specific than that of S3
    "203.0.113.127": ("EC2", "eu-west-1"),
    "203.0.113.128": ("AMAZON", "us-east-1"),
    "203.0.114.0": None,
    "198.51.100.9": ("CLOUDFRONT", "GLOBAL"),
    "2001:db8:6:ffff::": ("AMAZON", "us-east-1"),
    "2001:db8:7::1": ("DYNAMODB", "us-west-2"),
    "2001:db8:8::": ("AMAZON", "us-east-1"),
    "10.0.0.1": None,
    "-": None,
    None: None,
}


@pytest.fixture
def named(tmp_path: Path) -> Enrichment:
    """A small file of each kind."""
    (tmp_path / "asn.csv").write_text(CSV)
    (tmp_path / "ip-ranges.json").write_text(json.dumps(AWS))
    return Enrichment(tmp_path / "asn.csv", tmp_path / "ip-ranges.json")


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def answers(addresses: Sequence[str | None], *expressions: pl.Expr) -> list[Any]:
    frame = pl.LazyFrame({"address": addresses}, schema={"address": pl.String})
    named = [each.alias(str(place)) for place, each in enumerate(expressions)]
    rows = frame.select(named).collect().rows()
    return [row[0] if len(expressions) == 1 else row for row in rows]


def of_asn(addresses: Sequence[str | None], file: Path) -> list[tuple[int, str] | None]:
    ranges, address = load_asn(file), pl.col("address")
    pairs = answers(addresses, asn(address, ranges), as_name(address, ranges))
    return [None if pair == (None, None) else pair for pair in pairs]


def test_countries_are_the_registries() -> None:
    known = {
        "8.8.8.8": "US",
        "3.5.140.2": "US",  # AWS uses it in Seoul
        "193.0.6.139": "NL",
        "2001:4860:4860::8888": "US",
        "10.0.0.1": None,
        "100.64.0.1": None,
        "169.254.169.254": None,
        "fe80::1": None,
        "198.51.100.1": None,
        "2001:db8::1": None,
        "08.8.8.8": None,
        "8.8.8.8/32": None,
        "2001:4860:4860::8.8.8.8": None,  # an address, but not as AWS writes any
        "garbage": None,
        None: None,
    }
    assert answers(list(known), country(pl.col("address"))) == list(known.values())


def test_a_country_is_asked_for_of_public_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def country_code(addresses: list[str]) -> list[str | None]:
        asked.extend(addresses)
        return ["NL" for _ in addresses]

    monkeypatch.setattr("iptocc.country_code", country_code)
    found = answers(["192.0.2.1", "10.0.0.1", None, "192.0.2.1", "x"], country(pl.col("address")))
    assert found == ["NL", None, None, "NL", None]
    assert set(asked) == {"192.0.2.1"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CSV.encode(), id="ip-location-db"),
        pytest.param(
            b"ip_range_start,ip_range_end,autonomous_system_number,"
            b"autonomous_system_organization\n" + CSV.encode(),
            id="with a header",
        ),
        pytest.param(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(), id="from Windows"),
        pytest.param("".join(sorted(CSV.splitlines(True), reverse=True)).encode(), id="unsorted"),
        pytest.param(TSV.encode(), id="iptoasn"),
        pytest.param(b"start\tend\tasn\tcountry\tname\n" + TSV.encode(), id="iptoasn's columns"),
        pytest.param(gzip.compress(CSV.encode()), id="gzipped CSV"),
        pytest.param(gzip.compress(TSV.encode()), id="gzipped TSV"),
        pytest.param(
            b"".join(gzip.compress(line.encode()) for line in TSV.splitlines(True)),
            id="gzipped files, one after another",
        ),
    ],
)
def test_asn_files_as_they_are_published(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ranges"
    file.write_bytes(content)
    assert of_asn(list(EDGES), file) == list(EDGES.values())


def test_names_may_have_quotes_and_odd_bytes_or_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "ranges"
    file.write_bytes(
        b'192.0.2.0\t192.0.2.0\t1\tUS\t"Half a quote\n'
        b"192.0.2.1\t192.0.2.1\t2\tSE\tH\xe4r\n"
        b"192.0.2.2\t192.0.2.2\t3\tSE\t\n"
    )
    found = of_asn(["192.0.2.0", "192.0.2.1", "192.0.2.2"], file)
    assert found == [(1, '"Half a quote'), (2, "H�r"), (3, None)]


def test_of_overlapping_ranges_the_narrowest_counts(tmp_path: Path) -> None:
    file = tmp_path / "ranges"
    file.write_text(
        "192.0.2.0,192.0.2.255,1,around\n"
        "192.0.2.16,192.0.2.31,2,within\n"
        "192.0.2.16,192.0.2.31,3,the same again\n"
        "192.0.2.24,192.0.2.24,4,within that\n"
        "255.255.255.255,255.255.255.255,5,the last of IPv4\n"
        "::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,6,all of IPv6\n"
    )
    known = {
        "192.0.2.15": 1,
        "192.0.2.16": 2,
        "192.0.2.23": 2,
        "192.0.2.24": 4,
        "192.0.2.25": 2,
        "192.0.2.32": 1,
        "192.0.3.0": None,  # among the numbers of IPv6, and yet no address of it
        "255.255.255.255": 5,
        "0.0.0.0": None,
        "::": 6,
        "2001:db8::": 6,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": 6,
    }
    assert answers(list(known), asn(pl.col("address"), load_asn(file))) == list(known.values())


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_cut_as_each_address_would_choose(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    addresses = [f"192.0.2.{last}" for last in range(64)]
    ranges = [sorted((dice.randrange(64), dice.randrange(64))) for _ in range(seed)]
    lines = [
        f"{addresses[first]},{addresses[last]},{place + 1},\n"
        for place, (first, last) in enumerate(ranges)
    ]
    file = tmp_path / "ranges"
    file.write_text("".join(lines) or "192.0.2.0,192.0.2.63,0,\n")

    def chosen(address: int) -> int | None:
        around = [
            (last - first, first, place + 1)
            for place, (first, last) in enumerate(ranges)
            if first <= address <= last
        ]
        return min(around)[2] if around else None

    found = answers(addresses, asn(pl.col("address"), load_asn(file)))
    assert found == [chosen(address) for address in range(64)]


@pytest.mark.parametrize("order", [1, -1])
def test_aws_ranges_as_they_are_published(order: int, tmp_path: Path) -> None:
    turned = {
        key: table[::order] if isinstance(table, list) else table for key, table in AWS.items()
    }
    file = tmp_path / "ip-ranges.json"
    file.write_text(json.dumps(turned))
    ranges, address = load_aws_ranges(file), pl.col("address")
    pairs = answers(list(OF_AWS), aws_service(address, ranges), aws_region(address, ranges))
    assert [None if pair == (None, None) else pair for pair in pairs] == list(OF_AWS.values())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"start,end,asn,name\n", id="only a header"),
        pytest.param(b"192.0.2.0,192.0.2.255,64496\n", id="three columns"),
        pytest.param(b"192.0.2.0,192.0.2.255,64496,US,Five\n", id="five columns"),
        pytest.param(b"192.0.2.0\t192.0.2.255\t64496\tFour\n", id="four columns between tabs"),
        pytest.param(CSV.encode() + b"192.0.2.0,192.0.2.255\n", id="a short line"),
        pytest.param(CSV.encode() + b"192.0.2.0,192.0.2.255,1,a,b\n", id="a long line"),
        pytest.param(b"3221225984,3221226239,64496,Numbers\n", id="addresses as numbers"),
        pytest.param(CSV.encode() + b"start,end,asn,name\n", id="a header further down"),
        pytest.param(b"192.0.2.255,192.0.2.0,64496,Backwards\n", id="end before start"),
        pytest.param(b"192.0.2.0,2001:db8::,64496,Both\n", id="from IPv4 to IPv6"),
        pytest.param(b"::,192.0.2.0,64496,Both\n", id="from IPv6 to IPv4"),
        pytest.param(b"192.0.2.0,192.0.2.255,AS64496,Letters\n", id="a number with letters"),
        pytest.param(b"192.0.2.0,192.0.2.255,-1,Below\n", id="a negative number"),
        pytest.param(b"192.0.2.0/24,64496,US,Name\n", id="networks"),
        pytest.param(bytes(range(256)) * 8, id="bytes"),
        pytest.param(json.dumps(AWS).encode(), id="AWS's ranges"),
        pytest.param(gzip.compress(CSV.encode())[:-9], id="cut off"),
        pytest.param(b"\x1f\x8b and no more", id="no gzip"),
    ],
)
def test_what_is_no_file_of_asn_ranges_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.csv .*start,end,asn,name"):
        load_asn(file)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(CSV.encode(), id="ASN ranges"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"prefixes": []}', id="without IPv6"),
        pytest.param(b'{"prefixes": [5], "ipv6_prefixes": []}', id="no prefix"),
        pytest.param(json.dumps({**AWS, "prefixes": [{"ip_prefix": "192.0.2.0/24"}]}).encode()),
        pytest.param(json.dumps({**AWS, "prefixes": [prefix("x", "S3", "GLOBAL")]}).encode()),
        pytest.param(
            b'{"prefixes": [{"ip_prefix": 5, "service": "S3", "region": "GLOBAL"}],'
            b' "ipv6_prefixes": []}',
            id="a number for a prefix",
        ),
    ],
)
def test_what_is_no_file_of_aws_ranges_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.json .*ip-ranges\.json"):
        load_aws_ranges(file)


@pytest.mark.parametrize(
    ("load", "expected"), [(load_asn, "start,end,asn,name"), (load_aws_ranges, r"ip-ranges\.json")]
)
def test_a_missing_file_is_named(load: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"nowhere.*{expected}"):
        load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=expected):
        load(tmp_path)


def test_files_are_named_or_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOWLAKE_ASN", "FLOWLAKE_AWS_RANGES"):
        monkeypatch.delenv(name, raising=False)
    assert enrichment() == Enrichment()
    monkeypatch.setenv("FLOWLAKE_ASN", "asn.tsv.gz")
    monkeypatch.setenv("FLOWLAKE_AWS_RANGES", "")
    assert enrichment() == Enrichment("asn.tsv.gz", None)
    assert enrichment("mine.csv", "ip-ranges.json") == Enrichment("mine.csv", "ip-ranges.json")


def random_addresses(count: int, seed: int = 1) -> list[str | None]:
    """Addresses of both versions, some in the files above, nulls and garbage."""
    dice = random.Random(seed)
    networks = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "0.0.0.0/0"]
    networks += ["2001:db8::/48", "2001:db8:7::/48", "2000::/3", "::/0", "10.0.0.0/8"]
    found: list[str | None] = []
    for _ in range(count):
        block = ipaddress.ip_network(dice.choice(networks))
        found.append(str(block[dice.randrange(block.num_addresses)]))
    odd = [None, "", "-", "1.2.3", "01.2.3.4", "1.2.3.4 ", "::ffff:1.2.3.4", "fe80::1%eth0", "é"]
    return [*found, *odd, *found[::3]]


def test_sql_answers_as_polars_does(
    named: Enrichment, connection: duckdb.DuckDBPyConnection
) -> None:
    assert named.asn is not None
    assert named.aws_ranges is not None
    addresses = random_addresses(10_000)
    frame = pl.DataFrame({"place": range(len(addresses)), "address": addresses})
    address = pl.col("address")
    autonomous, amazon = load_asn(named.asn), load_aws_ranges(named.aws_ranges)
    expected = frame.with_columns(
        country=country(address),
        asn=asn(address, autonomous),
        as_name=as_name(address, autonomous),
        aws_service=aws_service(address, amazon),
        aws_region=aws_region(address, amazon),
    )
    connection.register("rows", frame.to_arrow())
    register_enrichment(connection, named)
    calls = ", ".join(f"{name}(address) AS {name}" for name in FUNCTIONS)
    answer = connection.sql(f"SELECT place, address, {calls} FROM rows ORDER BY place")
    assert dict(zip(answer.columns[2:], map(str, answer.types[2:]), strict=True)) == FUNCTIONS
    assert answer.pl().equals(expected)
    for name in FUNCTIONS:
        assert expected[name].drop_nulls().n_unique() > 2


def test_a_locked_connection_has_the_functions(
    named: Enrichment, connection: duckdb.DuckDBPyConnection
) -> None:
    register_enrichment(connection, named)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    asked = "country('8.8.8.8'), asn(address), as_name(address), aws_service(address)"
    row = connection.sql(f"SELECT {asked}, asn(NULL) FROM (VALUES ('192.0.2.7')) AS a (address)")
    assert row.fetchall() == [("US", 64496, "Example, Inc.", None, None)]
    grouped = connection.sql(
        "SELECT as_name(address) AS name, count(*) AS addresses "
        "FROM (VALUES ('192.0.2.7'), ('192.0.2.8'), (NULL)) AS a (address) "
        "WHERE coalesce(asn(address), 64496) = 64496 GROUP BY name ORDER BY name"
    )
    assert grouped.fetchall() == [("Example, Inc.", 2), (None, 1)]
    assert connection.cursor().sql("SELECT aws_region('203.0.113.200')").fetchall() == [
        ("us-east-1",)
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("asn", "set FLOWLAKE_ASN or --asn"),
        ("as_name", "set FLOWLAKE_ASN or --asn"),
        ("aws_service", "set FLOWLAKE_AWS_RANGES or --aws-ranges"),
        ("aws_region", "set FLOWLAKE_AWS_RANGES or --aws-ranges"),
        ("country", r"pip install 'flowlake\[geo\]'"),
    ],
)
def test_what_is_missing_is_said_when_it_is_called(
    call: str,
    message: str,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "iptocc", None)
    register_enrichment(connection, Enrichment())
    assert connection.sql("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(duckdb.Error, match=f"UsageError: .*{message}"):
        connection.sql(f"SELECT {call}(address) FROM (VALUES ('192.0.2.1')) AS a (address)").pl()


def test_country_without_the_extra_is_refused_before_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "iptocc", None)
    with pytest.raises(UsageError, match=r"pip install 'flowlake\[geo\]'"):
        country(pl.col("address"))


def test_a_wrong_file_is_named_by_sql_too(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    register_enrichment(connection, Enrichment(asn=tmp_path / "nowhere.csv"))
    with pytest.raises(duckdb.Error, match=r"nowhere\.csv cannot be read"):
        connection.sql("SELECT asn('192.0.2.1')").fetchall()


def test_files_are_read_when_first_needed_and_once(
    named: Enrichment, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    content = face._content

    def counting(path: Path) -> bytes:
        read.append(path.name)
        return content(path)

    monkeypatch.setattr(face, "_content", counting)
    ask = "SELECT asn('192.0.2.1'), as_name('192.0.2.1')"
    register_enrichment(connection, named)
    assert read == []
    assert connection.sql(ask).fetchall() == [(64496, "Example, Inc.")]
    assert connection.sql(ask).fetchall() == [(64496, "Example, Inc.")]
    assert read == ["asn.csv"]
    with duckdb.connect() as second:
        register_enrichment(second, named)
        assert second.sql(ask).fetchall() == [(64496, "Example, Inc.")]
    assert read == ["asn.csv"]
    assert isinstance(named.asn, Path)
    named.asn.write_text("192.0.2.0,192.0.2.255,64511,Another name\n")
    assert connection.sql(ask).fetchall() == [(64496, "Example, Inc.")]
    with duckdb.connect() as third:
        register_enrichment(third, named)
        assert third.sql(ask).fetchall() == [(64511, "Another name")]
    assert read == ["asn.csv", "asn.csv"]


def test_loaded_ranges_cannot_be_changed_for_others(named: Enrichment) -> None:
    assert named.asn is not None
    mine = load_asn(named.asn)
    mine.drop_in_place("asn")
    assert "asn" in load_asn(named.asn).columns


def test_nothing_is_imported_or_left_behind(named: Enrichment) -> None:
    """The country's data waits to be used, and a connection that is never closed goes quietly."""
    program = (
        "import sys, duckdb\n"
        "from flowlake.enrichment import Enrichment, register_enrichment\n"
        "connection = duckdb.connect()\n"
        f"register_enrichment(connection, Enrichment(asn={str(named.asn)!r}))\n"
        "assert connection.sql(\"SELECT asn('192.0.2.1')\").fetchall() == [(64496,)]\n"
        "assert 'iptocc' not in sys.modules\n"
        "assert connection.sql(\"SELECT country('8.8.8.8')\").fetchall() == [('US',)]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_many_addresses(named: Enrichment, connection: duckdb.DuckDBPyConnection) -> None:
    numbers = random.Random(1).sample(range(2**32), 50_000)
    addresses = pl.DataFrame({"address": [str(ipaddress.IPv4Address(each)) for each in numbers]})
    connection.register("addresses", addresses.to_arrow())
    register_enrichment(connection, named)
    for name in ("country", "asn"):
        row = connection.sql(f"SELECT count(*), count({name}(address)) FROM addresses").fetchall()
        (counts,) = row
        assert counts[0] == 50_000
        assert (name == "country") == (counts[1] > 40_000)
