"""Seeded, labelled traffic: a small bucket of flow logs, laid out as AWS does it, from no account.

Tables come first and text from tables, so a test can hold what a lake says against what was
generated without reading any text back. Everything is drawn in whole columns: the same code makes
a bucket that converts in a second and one of ten million records for a benchmark.

A bucket has one flow log for each account and region, with its own network: web servers, the
applications and databases behind them, a NAT gateway, a bastion, and a default VPC that nobody
tidied up. Each flow log keeps one format, as in life. Addresses on the internet come from ranges
reserved for documentation and benchmarks (RFC 5737, 2544 and 3849), so nobody is accused of
scanning; those of S3 and DynamoDB are AWS's own.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from typing import NamedTuple, Protocol, TypedDict, Unpack

import numpy as np
import polars as pl
from isal import igzip

from flowlake.errors import UsageError
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, FIELDS, field_for
from flowlake.layout import object_key

START = datetime(2026, 1, 14, 22, tzinfo=UTC)
"""Where a sample begins unless told otherwise: two hours before midnight, to cross it."""

ACCOUNTS = ("012345678901", "123456789010")
REGIONS = ("us-east-1", "eu-west-1")

ALPHABETICAL_FORMAT = tuple(sorted(f.name for f in FIELDS if f.version <= 5 and "vpc" in f.sources))
"""All fields up to version 5 in alphabetical order, as the console's "select all" writes them."""

EVERY_FIELD_FORMAT = tuple(field.name for field in FIELDS if "vpc" in field.sources)
"""All fields of a VPC flow log, up to version 11, in AWS's order."""

FORMATS = (DEFAULT_FORMAT, ALPHABETICAL_FORMAT, EVERY_FIELD_FORMAT)

REFUSED_PING_RECORDS = (
    "2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336"
    " 1432917027 1432917142 ACCEPT OK",
    "2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336"
    " 1432917094 1432917142 REJECT OK",
)
"""A ping let in by the security group, whose reply the network ACL refused to let out."""

_SLOT_OF_2015 = datetime(2015, 5, 29, 16, 30, tzinfo=UTC)
REFUSED_PING_KEY = object_key(
    "123456789010", "us-east-1", "fl-0123456789abcdef0", _SLOT_OF_2015, "5b8ca123"
)
"""The object of a sample bucket that holds ``REFUSED_PING_RECORDS``, and nothing else."""


class SampleKnobs(TypedDict, total=False):
    """What can be turned on a sample; ``sample_tables`` says what each one means."""

    seed: int
    start: datetime
    hours: int
    every: int
    records_per_object: int
    accounts: Sequence[str]
    regions: Sequence[str]
    formats: Sequence[Sequence[str]]


class Target(Protocol):
    """Anything that keeps objects by name, such as what ``flowlake.storage`` opens."""

    def put(self, key: str, body: bytes, /) -> object:
        """Keep ``body`` under ``key``."""


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What a sample came to: its objects, their records, and their gzipped bytes."""

    objects: int
    records: int
    bytes: int


class _Kind(NamedTuple):
    """One kind of traffic; client and server are pools of addresses.

    A connection leaves ``seen`` records: 1 if nothing answered, 2 for both directions at one
    interface, 4 for both directions at both ends, 6 at the instance and at both faces of the NAT
    gateway. ``packets`` is the request's median, the sizes are bytes per packet, ``path`` is what
    egress records say.
    """

    kind: str
    weight: float
    protocol: int
    port: int
    client: str
    server: str
    seen: int
    packets: int
    size: int
    reply_size: int
    path: int = 8
    outbound: bool = False
    action: str = "ACCEPT"
    log_status: str = "OK"


_PROBE = -1  # a port drawn from those that scanners like
_PROBED = (22, 23, 25, 80, 135, 445, 1433, 2375, 3306, 3389, 5432, 5900, 6379, 8080, 9200, 11211)

_KINDS = (
    _Kind("https", 22, 6, 443, "internet", "web", 2, 9, 180, 1100),
    _Kind("https over IPv6", 6, 6, 443, "internet6", "web6", 2, 9, 200, 1080),
    _Kind("http", 6, 6, 80, "internet", "legacy", 2, 6, 140, 900),
    _Kind("http/3", 3, 17, 443, "internet", "web", 2, 14, 210, 1180),
    _Kind("postgresql", 9, 6, 5432, "app", "db", 4, 18, 160, 640, 1),
    _Kind("own resolver", 5, 17, 53, "app", "dns", 4, 1, 68, 140, 1),
    _Kind("nat", 4, 6, 443, "app", "internet", 6, 12, 240, 820),
    _Kind("s3", 4, 6, 443, "app", "s3", 2, 40, 900, 700, 7, outbound=True),
    _Kind("dynamodb", 3, 6, 443, "app", "dynamodb", 2, 8, 420, 380, 7, outbound=True),
    _Kind("ntp", 3, 17, 123, "web", "internet", 2, 1, 76, 76, outbound=True),
    _Kind("ssh", 1, 6, 22, "internet", "bastion", 2, 60, 96, 140),
    _Kind("ping", 1.5, 1, 0, "internet", "web", 2, 4, 84, 84),
    _Kind("ping over IPv6", 1, 58, 0, "internet6", "web6", 2, 4, 104, 104),
    _Kind("gre", 0.3, 47, 0, "internet", "bastion", 2, 50, 400, 400),
    _Kind("esp", 0.5, 50, 0, "internet", "bastion", 2, 80, 600, 600),
    _Kind("probe", 26, 6, _PROBE, "scanners", "hosts", 1, 1, 44, 0, action="REJECT"),
    _Kind("udp probe", 2, 17, _PROBE, "scanners", "hosts", 1, 1, 72, 0, action="REJECT"),
    _Kind("no traffic", 2.4, 0, 0, "idle", "idle", 1, 0, 0, 0, log_status="NODATA"),
    _Kind("lost records", 0.4, 0, 0, "idle", "idle", 1, 0, 0, 0, log_status="SKIPDATA"),
)

# tcp-flags of initiator and responder: a whole connection, its opening, middle and end, a reset;
# last what was never answered.
_FLAGS = np.array([(3, 19), (2, 18), (0, 0), (1, 1), (7, 19), (2, 0)])

_OUTSIDE = {
    "scanners": [f"203.0.113.{n}" for n in range(1, 255)],
    "internet": [
        *(f"192.0.2.{n}" for n in range(1, 255)),
        *(f"198.51.100.{n}" for n in range(1, 255)),
        *(f"198.{18 + n % 2}.{n // 64}.{1 + n % 64}" for n in range(2**14)),
    ],
    "internet6": [f"2001:db8:ffff:{n:x}::{n:x}" for n in range(1, 2049)],
    "s3": [f"52.216.{n}.{1 + n}" for n in range(128)],
    "dynamodb": [f"52.94.{n}.{1 + n}" for n in range(8)],
}

# Addresses are codes until the end: a network's hosts in IPv4, in IPv6, then the world outside.
_HOSTS = 64
_NAT = 54
_POOLS = {
    "hosts": range(_HOSTS),
    "web": range(16),
    "web6": range(_HOSTS, _HOSTS + 16),
    "app": range(16, 44),
    "db": range(44, 52),
    "dns": range(52, 53),
    "bastion": range(53, 54),
    "idle": range(_NAT, _HOSTS),
    "legacy": range(56, _HOSTS),
}
_code = 2 * _HOSTS
for _name, _addresses in _OUTSIDE.items():
    _POOLS[_name] = range(_code, _code := _code + len(_addresses))

_SERVICES = {"52.216": "S3", "52.94": "DYNAMODB"}
_DIRECTIONS = pl.Series("flow-direction", ["ingress", "egress"])
_ADDRESSES = ("srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr")
_SLOT = 300  # an object holds the records that end in so many seconds

_NEXT_HOP = {
    name: f"next-hop-{name}"
    for name in ("interface-id", "subnet-id", "az-id", "vpc-id", "interface-type")
}

# What a record without traffic leaves out: all that would describe a packet.
_OF_PACKETS = [
    *_ADDRESSES,
    *("srcport", "dstport", "protocol", "packets", "bytes", "action", "tcp-flags", "type"),
    *("pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction", "traffic-path"),
    *_NEXT_HOP.values(),
]


def sample_tables(
    *,
    seed: int = 7,
    start: datetime = START,
    hours: int = 4,
    every: int = 4,
    records_per_object: int = 500,
    accounts: Sequence[str] = ACCOUNTS,
    regions: Sequence[str] = REGIONS,
    formats: Sequence[Sequence[str]] = FORMATS,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Generate a sample bucket lazily as tables: each object's key and its records.

    A table has the columns of the object's header, in its order and by AWS's names; numbers and
    times are Int64, the rest text, and what the text writes as ``-`` is null. The first object is
    the refused ping of 2015; the others follow from slot to slot, ordered by time.

    Args:
        seed: The same seed and knobs give the same tables; another seed, other traffic between
            the same interfaces.
        start: When the traffic begins, with a time zone.
        hours: How long it lasts.
        every: Of the five-minute slots, one in so many has objects: 1 for all of them.
        records_per_object: Records of each object; 250,000 are made in a fraction of a second.
        accounts: Account ids, text of twelve digits.
        regions: Region names; each account has a flow log in each.
        formats: Headers, dealt to the flow logs in turn. A field later than version 5 is all null.

    Raises:
        UsageError: ``start`` has no time zone, or there is no format, or ``every`` is below 1.
    """
    if start.tzinfo is None:
        raise UsageError(f"The sample's start, {start}, has no time zone: give one, such as UTC.")
    if every < 1 or not formats:
        raise UsageError("A sample needs at least one format, and every must be 1 or more.")
    yield REFUSED_PING_KEY, _refused_ping()
    first = int(start.timestamp()) // _SLOT * _SLOT
    for seconds in range(first, first + hours * 3600, every * _SLOT):
        slot = datetime.fromtimestamp(seconds, UTC)
        for number, (account, region) in enumerate(product(accounts, regions)):
            # Each format turns up in every account and, with two of each, in every region.
            header = tuple(formats[sum(divmod(number, len(regions))) % len(formats)])
            flow_log = "fl-0" + stable_name(account, region, *header)
            digest = stable_name(seed, flow_log, slot)
            random = np.random.Generator(np.random.PCG64(int(digest, 16)))
            estate, book = network(account, region, number % 16)
            traffic = _traffic(_connections(random, seconds, records_per_object), estate, book)
            key = object_key(account, region, flow_log, slot, digest[:8])
            yield key, in_format(traffic.head(records_per_object), header)


def sample_objects(**knobs: Unpack[SampleKnobs]) -> Iterator[tuple[str, bytes]]:
    """Generate a sample bucket lazily as AWS delivers it: each object's key and gzipped text.

    Takes the knobs of ``sample_tables``. The bytes depend on nothing but them.
    """
    for key, table in sample_tables(**knobs):
        yield key, object_bytes(table)


Tables = Iterable[tuple[str, pl.DataFrame]]
Delivery = Iterator[tuple[str, bytes, int]]
"""Objects to put: the key, the bytes, and how many records they hold."""


def deliver_text(tables: Tables) -> Delivery:
    """Deliver tables as AWS does unless told otherwise: gzipped text in the default layout."""
    for key, table in tables:
        yield key, object_bytes(table), table.height


def write_sample(
    target: Target,
    prefix: str = "",
    deliver: Callable[[Tables], Delivery] = deliver_text,
    **knobs: Unpack[SampleKnobs],
) -> SampleSummary:
    """Generate a sample bucket and put it into ``target`` as ``write_objects`` does.

    ``deliver`` makes objects of the tables; the other knobs are those of ``sample_tables``.
    """
    return write_objects(target, prefix, deliver(sample_tables(**knobs)))


def write_objects(target: Target, prefix: str, delivery: Delivery) -> SampleSummary:
    """Put objects into ``target``; ``prefix``, as ``s3://bucket/``, comes before each key."""
    objects = records = size = 0
    for key, body, held in delivery:
        target.put(prefix + key, body)
        objects, records, size = objects + 1, records + held, size + len(body)
    return SampleSummary(objects, records, size)


def object_bytes(table: pl.DataFrame) -> bytes:
    """Write one table of ``sample_tables`` as AWS would: header, records, gzip."""
    text = io.BytesIO()
    table.write_csv(text, separator=" ", null_value="-", quote_style="never")
    return igzip.compress(text.getvalue(), 1, mtime=0)


def _refused_ping() -> pl.DataFrame:
    lines = [line.split(" ") for line in REFUSED_PING_RECORDS]
    table = pl.DataFrame(lines, schema=dict.fromkeys(DEFAULT_FORMAT, pl.String), orient="row")
    return table.cast({name: _type(name) for name in DEFAULT_FORMAT})


def in_format(traffic: pl.DataFrame, header: Sequence[str]) -> pl.DataFrame:
    """Choose a format's fields; what samples know nothing of is null, as AWS would write ``-``."""
    version = 2 if header == DEFAULT_FORMAT else max(field_for(name).version for name in header)
    traffic = traffic.with_columns(version=pl.lit(version or 2, pl.Int64))
    known = BY_NAME.keys() & traffic.columns
    return traffic.with_columns(
        pl.lit(None, _type(name)).alias(name) for name in header if name not in known
    ).select(header)


def _type(name: str) -> pl.DataType:
    return pl.String() if field_for(name).type == "text" else pl.Int64()


def stable_name(*parts: object) -> str:
    """Name something for good: sixteen hexadecimal digits that depend on ``parts`` alone."""
    return blake2b(" ".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def _traffic(connections: pl.DataFrame, estate: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """Make the records that connections leave at a network's interfaces, with every field."""
    nth, reply, nat = pl.col("nth"), pl.col("reply"), pl.col("kind") == "nat"
    rows = connections.with_columns(nth=pl.int_ranges("seen")).explode("nth")
    rows = rows.with_columns(reply=2 * nth >= pl.col("seen"))
    outer = (nth == 0) | (nth == pl.col("seen") - 1)
    at_client = pl.when(pl.col("seen") >= 4).then(outer).otherwise("outbound")
    at_gateway = nat & ~outer
    client, server = pl.col("client") % _HOSTS, pl.col("server") % _HOSTS
    rows = rows.with_columns(
        host=pl.when(at_gateway).then(_NAT).when(at_client).then(client).otherwise(server),
        peer=pl.when(nat & outer)
        .then(_NAT)
        .when(at_gateway & ((nth == 1) | (nth == 4)))
        .then(client)
        .when(~nat & (pl.col("seen") == 4))
        .then(pl.when(at_client).then(server).otherwise(client)),
        egress=pl.when(at_gateway).then(nth % 2 == 0).otherwise(at_client != reply),
    )
    # An interface hands in what it saw minute by minute.
    rows = rows.sort(pl.col("end") // 60, "host", maintain_order=True).with_columns(
        pl.when(reply).then(back).otherwise(forth).alias(name)
        for name, forth, back in (
            ("pkt-srcaddr", "client", "server"),
            ("pkt-dstaddr", "server", "client"),
            ("srcport", "client port", "server port"),
            ("dstport", "server port", "client port"),
            ("packets", "packets", "reply packets"),
            ("bytes", "bytes", "reply bytes"),
            ("tcp-flags", "tcp-flags", "reply tcp-flags"),
        )
    )
    # The gateway receives from either side and sends to either. In the packet itself its address
    # stands only on the side of the internet.
    rows = rows.with_columns(
        pl.when(at_gateway & seen_by_gateway).then(_NAT).otherwise(packet).alias(name)
        for name, packet, seen_by_gateway in (
            ("srcaddr", "pkt-srcaddr", pl.col("egress")),
            ("dstaddr", "pkt-dstaddr", ~pl.col("egress")),
            ("pkt-srcaddr", "pkt-srcaddr", nth == 2),
            ("pkt-dstaddr", "pkt-dstaddr", nth == 3),
        )
    )
    path = pl.when(nat & (nth != 2)).then(1).otherwise("path")
    named = {name: book["address"].gather(rows[name]) for name in _ADDRESSES}
    beyond = estate.select(*_NEXT_HOP).rename(_NEXT_HOP)
    rows = pl.concat(
        [estate[rows["host"]], rows, beyond.select(pl.all().gather(rows["peer"]))],
        how="horizontal",
    )
    rows = rows.with_columns(
        book["type"].gather(rows["srcaddr"]),
        book["service"].gather(rows["pkt-srcaddr"]).alias("pkt-src-aws-service"),
        book["service"].gather(rows["pkt-dstaddr"]).alias("pkt-dst-aws-service"),
        _DIRECTIONS.gather(rows["egress"].cast(pl.UInt32)),
        pl.when("egress").then(path).alias("traffic-path"),
        pl.col("log_status").alias("log-status"),
        **named,
    )
    return rows.with_columns(pl.when(pl.col("log-status") == "OK").then(pl.col(_OF_PACKETS)))


def _connections(random: np.random.Generator, slot: int, count: int) -> pl.DataFrame:
    """Draw just enough connections to leave ``count`` records that end in the slot."""
    kinds = pl.DataFrame(_KINDS)
    weights = kinds["weight"].to_numpy()
    kind = random.choice(len(_KINDS), size=count, p=weights / weights.sum())
    enough = int(np.searchsorted(np.cumsum(kinds["seen"].to_numpy()[kind]), count)) + 1
    drawn = kinds[kind[:enough]]
    size = drawn.height
    of = {name: drawn[name].to_numpy() for name in ("port", "packets", "size", "reply_size")}

    def anyone(side: str) -> pl.Series:
        """Draw an address of each pool; the square makes some far busier than others."""
        pools = [_POOLS[pool] for pool in kinds[side]]
        first = np.array([pool.start for pool in pools])[kind[:enough]]
        number = np.array([len(pool) for pool in pools])[kind[:enough]]
        return pl.Series(side, first + (number * random.random(size) ** 2).astype(np.int64))

    varies = of["packets"] > 1
    sent = np.ceil(of["packets"] * random.lognormal(0, 1, size) ** varies).astype(np.int64)
    answered = np.ceil(sent * random.uniform(0.6, 1.6, size) ** varies).astype(np.int64)
    fill = random.uniform(1, 1.3, size) ** varies
    end = slot + random.integers(0, 300, size)
    lasted = random.integers(1, 61, size) * np.where(random.random(size) < 0.05, 10, 1)
    phase = random.choice(len(_FLAGS) - 1, size=size, p=(0.5, 0.15, 0.2, 0.13, 0.02))
    phase[drawn["seen"].to_numpy() == 1] = -1
    flags = _FLAGS[phase] * (drawn["protocol"].to_numpy() == 6)[:, np.newaxis]
    ports, probed = of["port"], random.choice(_PROBED, size)
    return drawn.with_columns(
        anyone("client"),
        anyone("server"),
        pl.Series("client port", random.integers(32_768, 61_000, size) * (ports != 0)),
        pl.Series("server port", np.where(ports == _PROBE, probed, ports)),
        pl.Series("packets", sent),
        pl.Series("reply packets", answered),
        pl.Series("bytes", sent * (of["size"] * fill).astype(np.int64)),
        pl.Series("reply bytes", answered * (of["reply_size"] * fill).astype(np.int64)),
        pl.Series("tcp-flags", flags[:, 0]),
        pl.Series("reply tcp-flags", flags[:, 1]),
        pl.Series("start", end - lasted),
        pl.Series("end", end),
    )


@lru_cache(maxsize=64)
def network(account: str, region: str, number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """List an account's interfaces in a region, and the addresses that its network's codes mean."""
    zone = region
    for word in ("gov", "north", "south", "east", "west", "central"):
        zone = zone.replace(word, word[0])  # us-east-1 has the zones use1-az1, use1-az2 ...
    interfaces, addresses, addresses6 = [], [], []
    for host in range(_HOSTS):
        vpc, subnet = ("172.31" if host in _POOLS["legacy"] else "10.0"), host // 8
        interface = {
            "account-id": account,
            "interface-id": "eni-0" + stable_name(account, region, "interface", host),
            "vpc-id": "vpc-0" + stable_name(account, region, vpc),
            "subnet-id": "subnet-0" + stable_name(account, region, "subnet", subnet),
            "instance-id": "i-0" + stable_name(account, region, "instance", host),
            "region": region,
            "az-id": f"{zone.replace('-', '')}-az{1 + subnet % 3}",
            "interface-type": None,
        }
        gateway = {"instance-id": None, "interface-type": "nat_gateway"}
        interfaces.append(interface | (gateway if host == _NAT else {}))
        addresses.append(f"{vpc}.{16 * number + subnet}.{10 + host}")
        addresses6.append(f"2001:db8:{1 + number:x}:{1 + subnet:x}::{0x10 + host:x}")
    addresses += addresses6 + [address for pool in _OUTSIDE.values() for address in pool]
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    services = [_SERVICES.get(".".join(address.split(".")[:2])) for address in addresses]
    return pl.DataFrame(interfaces, infer_schema_length=None), pl.DataFrame(
        {"address": addresses, "type": families, "service": services}
    )
