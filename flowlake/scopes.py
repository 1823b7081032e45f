"""Whom a rule is about, as people write it: addresses, networks, interfaces by what they belong to.

An entry of a scope is an address or a CIDR, ``eni-…``, ``i-…``, ``subnet-…``, ``vpc-…``,
``tag:KEY=PATTERN``, ``public``, ``private`` or ``any``. An entry of what may be reached is
``Allowed``.
"""

import fnmatch
import ipaddress
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from flowlake.addresses import PRIVATE, in_networks, is_private, is_public
from flowlake.errors import UsageError
from flowlake.indicators import IDS
from flowlake.protocols import PROTOCOLS

logger = logging.getLogger(__name__)

Kind = Literal[
    "any", "public", "private", "network", "interface", "instance", "subnet", "vpc", "tag"
]

WORDS: tuple[Kind, ...] = ("any", "public", "private")
"""Entries that name everybody of a sort: private is what ``addresses.PRIVATE`` has."""

_IDS: dict[Kind, re.Pattern[str]] = {
    "interface": IDS["interface"],
    "instance": IDS["instance"],
    "subnet": re.compile(r"subnet-[0-9a-z]+"),
    "vpc": re.compile(r"vpc-[0-9a-z]+"),
}
_PROTOCOL_NUMBERS = {name.lower(): number for number, name in PROTOCOLS.items()}
_ALLOWED = re.compile(
    r"(?P<who>\*|aws:\w+|\[[^\]]*\]|[^:*\[\]]*)"
    r"(?::(?P<ports>\*|\d{1,5}(?:-\d{1,5})?)(?:/(?P<protocol>[^/]+))?)?"
)


@dataclass(frozen=True, slots=True, eq=False)  # frames have no equality of their own
class Members:
    """Who belongs to a scope.

    ``networks`` are matched wherever they are seen. ``pairs`` are interfaces with an address of
    theirs, columns ``interface_id`` and ``address``: they are matched only in the records of that
    interface, so that the same private address in another VPC is somebody else. ``public`` adds
    every address that is not private.
    """

    networks: tuple[str, ...] = ()
    pairs: pl.DataFrame | None = None
    public: bool = False
    everybody: bool = False

    def hold(self, address: str) -> pl.Expr:
        """Whether the address in this column, of a record with an ``interface_id``, belongs.

        Never null: who has no address does not belong.
        """
        if self.everybody:
            return pl.lit(True)
        found = pl.lit(False)
        if self.networks:
            found = found | in_networks(pl.col(address), self.networks).fill_null(False)
        if self.public:
            found = found | is_public(pl.col(address)).fill_null(False)
        if self.pairs is not None and self.pairs.height:
            paired = self.pairs.select(pl.struct("interface_id", address=pl.col("address")))
            here = pl.struct("interface_id", pl.col(address).alias("address"))
            found = found | here.is_in(paired.to_series().implode()).fill_null(False)
        return found


EVERYBODY = Members(everybody=True)
NOBODY = Members()


class Entry(NamedTuple):
    """One entry of a scope: what kind it is, its text in AWS's spelling, and a tag's key."""

    kind: Kind
    text: str
    key: str = ""


def parse_entry(text: str) -> Entry:
    """Read an entry of a scope; nothing is looked up.

    ``any``, ``public`` or ``private``; an address or a CIDR (set host bits are dropped);
    ``eni-…``, ``i-…``, ``subnet-…``, ``vpc-…``; or ``tag:KEY=PATTERN``, where the pattern is a
    shell's (``*``, ``?``, ``[ab]``), its case counts, and the key ends at the first ``=``.

    Raises:
        UsageError: when it is none of these.
    """
    plain = text.strip()
    for word in WORDS:
        if plain.lower() == word:
            return Entry(word, word)
    if plain.startswith("tag:"):
        key, equals, pattern = plain.removeprefix("tag:").partition("=")
        if not key or not equals:
            raise UsageError(f"{text!r} names no tag: write tag:KEY=PATTERN, as in tag:Name=web*.")
        return Entry("tag", pattern, key)
    for kind, pattern_of in _IDS.items():
        if pattern_of.fullmatch(plain.lower()):
            return Entry(kind, plain.lower())
    if (cidr := _network(plain)) is None:
        raise UsageError(
            f"{text!r} is nobody: write an address, a network such as 10.0.0.0/16, eni-…, i-…, "
            "subnet-…, vpc-…, tag:Name=web*, public, private or any."
        )
    return Entry("network", cidr)


def members(entries: Sequence[str], flows: pl.LazyFrame, inventory: pl.DataFrame | None) -> Members:
    """Find who the entries of a scope are.

    Addresses and CIDRs are members wherever they are seen. The others stand for interfaces, each
    with its own addresses: those of the inventory and, where the format has ``instance_id``,
    ``subnet_id`` or ``vpc_id``, those that the records name. The addresses of an interface are
    the inventory's; of one that is not in it, the address that most of its records have on either
    side, of IPv4 and of IPv6. Where several are in as many, the private ones of them count.

    An id that neither the inventory nor a record knows is logged as a warning, and is nobody.

    Args:
        entries: as ``parse_entry`` reads them.
        flows: records of the time in question, with the lake's columns.
        inventory: a row for each interface, as ``Lake.inventory`` gives; None if there is none.

    Raises:
        UsageError: for an entry that cannot be read, and for a tag without an inventory.
    """
    wanted = [parse_entry(entry) for entry in entries]
    if any(entry.kind == "any" for entry in wanted):
        return EVERYBODY
    networks = tuple(dict.fromkeys(entry.text for entry in wanted if entry.kind == "network"))
    networks += tuple(PRIVATE) if any(entry.kind == "private" for entry in wanted) else ()
    public = any(entry.kind == "public" for entry in wanted)
    named = [entry for entry in wanted if entry.kind not in ("network", *WORDS)]
    if not named:
        return Members(networks, public=public)
    found = _interfaces(named, flows, inventory)
    for entry in named:
        if entry not in found:
            what = f"tag:{entry.key}={entry.text}" if entry.kind == "tag" else entry.text
            logger.warning("no interface is known of %s: check it, or take an inventory", what)
    interfaces = sorted({interface for those in found.values() for interface in those})
    return Members(networks, _own_addresses(interfaces, flows, inventory), public)


def _interfaces(
    wanted: Sequence[Entry], flows: pl.LazyFrame, inventory: pl.DataFrame | None
) -> dict[Entry, set[str]]:
    """The interfaces of each entry; an entry that has none is left out."""
    found: dict[Entry, set[str]] = {}
    by_id = [entry for entry in wanted if entry.kind != "tag"]
    if by_id:
        columns = sorted({f"{entry.kind}_id" for entry in by_id})
        texts = [entry.text for entry in by_id]
        places = [flows] if inventory is None else [flows, inventory.lazy()]
        for place in places:
            here = place.filter(
                pl.col("interface_id").is_not_null(),
                pl.any_horizontal(pl.col(columns).is_in(texts)),
            )
            rows = here.select({"interface_id", *columns}).unique().collect(engine="streaming")
            for entry in by_id:
                those = rows.filter(pl.col(f"{entry.kind}_id") == entry.text)["interface_id"]
                if those.len():
                    found.setdefault(entry, set()).update(those)
    for entry in wanted:
        if entry.kind != "tag":
            continue
        if inventory is None:
            raise UsageError(
                f"tag:{entry.key}={entry.text} needs an inventory: run `flowlake inventory`."
            )
        tags = inventory.select("interface_id", "tags").explode("tags").unnest("tags")
        values = tags.filter(pl.col("key") == entry.key)
        fits = [value for value in values["value"] if fnmatch.fnmatchcase(value or "", entry.text)]
        those = values.filter(pl.col("value").is_in(fits))["interface_id"]
        if those.len():
            found[entry] = set(those)
    return found


def _own_addresses(
    interfaces: Sequence[str], flows: pl.LazyFrame, inventory: pl.DataFrame | None
) -> pl.DataFrame:
    """Pairs of ``interface_id`` and ``address`` of these interfaces."""
    pairs = pl.DataFrame(schema={"interface_id": pl.String, "address": pl.String})
    if inventory is not None:
        pairs = (
            inventory.filter(pl.col("interface_id").is_in(interfaces))
            .select("interface_id", address="addresses")
            .explode("address")
            .drop_nulls()
        )
    others = sorted(set(interfaces) - set(pairs["interface_id"]))
    if not others:
        return pairs.unique(maintain_order=True)
    records = flows.filter(pl.col("interface_id").is_in(others))
    sides = pl.concat(
        records.select("interface_id", address=column) for column in ("srcaddr", "dstaddr")
    ).drop_nulls()
    counted = sides.group_by("interface_id", "address").len().collect(engine="streaming")
    family = ["interface_id", pl.col("address").str.contains(":", literal=True)]
    for rank in (pl.col("len"), is_private(pl.col("address")).fill_null(False)):
        counted = counted.filter(rank == rank.max().over(family))
    return pl.concat([pairs, counted.select("interface_id", "address")]).unique(maintain_order=True)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be reached: addresses or an AWS service, on ports, by a protocol."""

    text: str
    """As it was written."""
    network: str | None = None
    """A CIDR; None for any address."""
    aws_service: str | None = None
    """AWS's name of its addresses, such as ``S3``; ``AMAZON`` is all of AWS. None for any."""
    first_port: int = 0
    last_port: int = 65_535
    protocol: int | None = None
    """IANA's number; None for any."""


def parse_allowed(text: str) -> Allowed:
    """Read what may be reached: ``WHO``, ``WHO:PORTS`` or ``WHO:PORTS/PROTOCOL``.

    ``WHO`` is an address, a CIDR, ``aws:SERVICE`` (the names of ``ip-ranges.json``, in either case;
    ``aws:AMAZON`` is all of AWS) or ``*``. IPv6 stands in brackets if ports follow. ``PORTS`` is a
    port of the server, a range such as ``8000-8100``, or ``*``. ``PROTOCOL`` is ``tcp``, ``udp``,
    another keyword of IANA's or a number. What is not said is not asked: without ports all, without
    a protocol any. Examples: ``10.0.0.0/8``, ``192.0.2.0/24:443``, ``[2001:db8::]/32:443``,
    ``aws:S3:443/tcp``, ``*:53/udp``.

    Raises:
        UsageError: when it is none of these.
    """
    plain = text.strip()
    refusal = UsageError(
        f"{text!r} does not say what is allowed: write ADDRESS, CIDR, aws:SERVICE or *, then "
        ":PORT, :FIRST-LAST or :*, then /tcp or /udp, as in 192.0.2.0/24:443/tcp or "
        "[2001:db8::/32]:443."
    )
    bare = _network(plain)
    if bare is not None:
        return Allowed(plain, bare)
    match = _ALLOWED.fullmatch(re.sub(r"^\[([^\]]+)\](/\d+)", r"[\1\2]", plain))
    if match is None:
        raise refusal
    who, ports, keyword = match["who"], match["ports"] or "*", (match["protocol"] or "").lower()
    first, _, last = ("0-65535" if ports == "*" else ports).partition("-")
    begin, end = int(first), int(last or first)
    protocol = int(keyword) if keyword.isdecimal() else _PROTOCOL_NUMBERS.get(keyword)
    if not begin <= end <= 65_535 or (keyword and protocol is None) or (protocol or 0) > 255:
        raise refusal
    if who == "*" and match["ports"] is None:
        raise UsageError("'*' alone would allow everything: give ports, or leave the rule out.")
    if who.startswith("aws:"):
        return Allowed(plain, None, who.removeprefix("aws:").upper(), begin, end, protocol)
    network = None if who == "*" else _network(who.strip("[]"))
    if who != "*" and network is None:
        raise refusal
    return Allowed(plain, network, None, begin, end, protocol)


def _network(text: str) -> str | None:
    """The CIDR of an address or a network, set host bits dropped; None if it is neither."""
    try:
        return None if "%" in text else str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None
