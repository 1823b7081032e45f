"""What is known of an address elsewhere: its country, its AS, and which AWS service uses it.

All of it offline. The country comes with the extra ``flowlake[geo]``; the autonomous systems (AS)
and AWS's ranges come from files that you name, and nothing is downloaded. What the files do not
know is null. The DuckDB functions of `register_enrichment` work by the Polars expressions.
"""

import functools
import gzip
import heapq
import importlib.util
import itertools
import json
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from flowlake.addresses import MAPPED, MAPPED_END, address_number, is_public, network, on_distinct
from flowlake.errors import UsageError

if TYPE_CHECKING:
    import duckdb

ASN_VARIABLE = "FLOWLAKE_ASN"
"""The environment variable that names the file of ASN ranges."""

AWS_RANGES_VARIABLE = "FLOWLAKE_AWS_RANGES"
"""The environment variable that names AWS's ``ip-ranges.json``."""

FUNCTIONS: dict[str, str] = {
    "country": "VARCHAR",
    "asn": "BIGINT",
    "as_name": "VARCHAR",
    "aws_service": "VARCHAR",
    "aws_region": "VARCHAR",
}
"""The functions of one address that `register_enrichment` makes, and the type each answers."""

_ASN_COLUMNS = {
    ",": ("start", "end", "asn", "as_name"),
    "\t": ("start", "end", "asn", "country", "as_name"),
}
_ASN_LINES = (
    "start,end,asn,name as in ip-location-db's asn-ipv4.csv, "
    "or start, end, asn, country and name between tabs as in iptoasn's ip2asn-combined.tsv"
)
_AWS_DOCUMENT = "the JSON that AWS publishes as ip-ranges.json"
_AWS_SCHEMA = {
    "first": pl.UInt128,
    "last": pl.UInt128,
    "aws_service": pl.String,
    "aws_region": pl.String,
}
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_tables: dict[object, tuple[tuple[int, int], pl.DataFrame]] = {}
"""The ranges of each file that was read, with the file's time and size then."""

_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Enrichment:
    """The files to look addresses up in; None where there is none.

    Args:
        asn: ranges of autonomous systems, as `load_asn` reads them.
        aws_ranges: AWS's ranges, as `load_aws_ranges` reads them.
    """

    asn: Path | str | None = None
    aws_ranges: Path | str | None = None


def enrichment(asn: Path | str | None = None, aws_ranges: Path | str | None = None) -> Enrichment:
    """Name the files; what is not given comes from ``FLOWLAKE_ASN`` and ``FLOWLAKE_AWS_RANGES``."""
    return Enrichment(
        asn or os.environ.get(ASN_VARIABLE) or None,
        aws_ranges or os.environ.get(AWS_RANGES_VARIABLE) or None,
    )


def country(address: pl.Expr) -> pl.Expr:
    """The country that an address is registered to, as an ISO 3166 code such as ``US``.

    It is where the regional registries say the holder of the block is, not where the host is:
    3.5.140.2, which AWS uses in Seoul, is US. A few old blocks are of the region ``EU``. Null for
    private and unassigned addresses and for what is no address.

    Raises:
        UsageError: when the extra ``flowlake[geo]`` is not installed.
    """
    country_code = _country_code()

    def codes(distinct: pl.Series) -> pl.Series:
        return pl.Series(country_code(distinct.to_list()), dtype=pl.String)

    return on_distinct(pl.when(is_public(address)).then(address), codes, pl.String())


def asn(address: pl.Expr, ranges: pl.DataFrame) -> pl.Expr:
    """The number of the autonomous system that announces an address; null where there is none.

    Args:
        address: addresses as text.
        ranges: what `load_asn` gave.
    """
    return _of_range(address, ranges, "asn")


def as_name(address: pl.Expr, ranges: pl.DataFrame) -> pl.Expr:
    """The name of the autonomous system that announces an address; null where there is none.

    Args:
        address: addresses as text.
        ranges: what `load_asn` gave.
    """
    return _of_range(address, ranges, "as_name")


def aws_service(address: pl.Expr, ranges: pl.DataFrame) -> pl.Expr:
    """The AWS service whose range an address is in, such as ``S3``; null if it is not AWS's.

    Args:
        address: addresses as text.
        ranges: what `load_aws_ranges` gave.
    """
    return _of_range(address, ranges, "aws_service")


def aws_region(address: pl.Expr, ranges: pl.DataFrame) -> pl.Expr:
    """The AWS region whose range an address is in, or ``GLOBAL``; null if it is not AWS's.

    Args:
        address: addresses as text.
        ranges: what `load_aws_ranges` gave.
    """
    return _of_range(address, ranges, "aws_region")


def load_asn(path: Path | str) -> pl.DataFrame:
    """Load ranges of autonomous systems: ``first`` and ``last`` number, ``asn``, ``as_name``.

    The file is ip-location-db's CSV (``start,end,asn,name``) or iptoasn's TSV (``start``, ``end``,
    ``asn``, ``country``, ``name``), of IPv4, IPv6 or both, plain or gzipped, with a header or
    without. Ranges that no AS announces, ASN 0, are left out. Where ranges overlap the narrowest
    counts, of equal ones the first. A file that did not change is read once a process.

    Raises:
        UsageError: when the file cannot be read or is something else.
    """
    return _loaded(_read_asn, path, f"A file of lines {_ASN_LINES}")


def load_aws_ranges(path: Path | str) -> pl.DataFrame:
    """Load AWS's ``ip-ranges.json``: ``first``, ``last`` number, ``aws_service``, ``aws_region``.

    The most specific prefix counts. Of equal ones a service's own comes before EC2's, and any
    before AMAZON's, which lists them all. A file that did not change is read once a process.

    Raises:
        UsageError: when the file cannot be read or is something else.
    """
    return _loaded(_read_aws_ranges, path, _AWS_DOCUMENT)


def enriched(frame: pl.DataFrame, columns: Sequence[str], known: Enrichment) -> pl.DataFrame:
    """Add what is known of the addresses in some columns, each beside it: ``srcaddr_country``, ….

    The country if ``flowlake[geo]`` is installed, the rest if a file is named.

    Raises:
        UsageError: when there is neither, or a file cannot be read.
    """
    says: dict[str, Callable[[pl.Expr], pl.Expr]] = {}
    if importlib.util.find_spec("iptocc"):
        says["country"] = country
    if known.asn is not None:
        systems = load_asn(known.asn)
        says["asn"] = functools.partial(asn, ranges=systems)
        says["as_name"] = functools.partial(as_name, ranges=systems)
    if known.aws_ranges is not None:
        ranges = load_aws_ranges(known.aws_ranges)
        says["aws_service"] = functools.partial(aws_service, ranges=ranges)
        says["aws_region"] = functools.partial(aws_region, ranges=ranges)
    if not says:
        raise UsageError(
            "Nothing is known of addresses: pip install 'flowlake[geo]' for countries, or name a "
            "file with --asn or --aws-ranges."
        )
    order: list[str] = []
    added: list[pl.Expr] = []
    for column in frame.columns:
        order.append(column)
        if column in columns:
            order += [f"{column}_{name}" for name in says]
            added += [say(pl.col(column)).alias(f"{column}_{name}") for name, say in says.items()]
    return frame.with_columns(added).select(order)


def register_enrichment(connection: "duckdb.DuckDBPyConnection", enrichment: Enrichment) -> None:
    """Give a connection the functions `FUNCTIONS`, as in ``SELECT country(srcaddr)``.

    They are functions of one address as text. A file is loaded when a function first needs it, and
    for this connection stays as it was then. A function whose file is not named, and ``country``
    without the extra ``flowlake[geo]``, says so when it is called.
    """
    from duckdb.func import FunctionNullHandling, PythonUDFType

    @functools.cache
    def asn_ranges() -> pl.DataFrame:
        return load_asn(_named(enrichment.asn, "ASN ranges", ASN_VARIABLE, "--asn"))

    @functools.cache
    def aws_ranges() -> pl.DataFrame:
        file = _named(enrichment.aws_ranges, "AWS's ranges", AWS_RANGES_VARIABLE, "--aws-ranges")
        return load_aws_ranges(file)

    expressions: dict[str, Callable[[pl.Expr], pl.Expr]] = {
        "country": country,
        "asn": lambda address: asn(address, asn_ranges()),
        "as_name": lambda address: as_name(address, asn_ranges()),
        "aws_service": lambda address: aws_service(address, aws_ranges()),
        "aws_region": lambda address: aws_region(address, aws_ranges()),
    }
    for name, answer_type in FUNCTIONS.items():
        connection.create_function(
            name,
            _vectorised(expressions[name]),
            ["VARCHAR"],
            answer_type,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=False,
        )


def _vectorised(expression: Callable[[pl.Expr], pl.Expr]) -> Callable[[pa.ChunkedArray], pa.Array]:
    """The expression as DuckDB calls it, with the addresses of some rows at a time."""

    def answers(addresses: pa.ChunkedArray) -> pa.Array:
        rows = pl.DataFrame({"address": pl.from_arrow(addresses)})
        return rows.select(expression(pl.col("address"))).to_series().to_arrow()

    return answers


def _country_code() -> Callable[[list[str]], list[str | None]]:
    try:
        from iptocc import country_code
    except ImportError as error:
        raise UsageError(
            "country() needs the registries' data: pip install 'flowlake[geo]'."
        ) from error
    return country_code


def _of_range(address: pl.Expr, ranges: pl.DataFrame, column: str) -> pl.Expr:
    """The column's value in the range that an address is in; the ranges are sorted and disjoint."""
    first, last, values = ranges["first"], ranges["last"], ranges[column]

    def found(numbers: pl.Series) -> pl.Series:
        place = first.search_sorted(numbers, side="right").cast(pl.Int64) - 1
        place = place.set(place < 0, None)
        inside = numbers <= last.gather(place)
        return values.gather(place.zip_with(inside.fill_null(False), pl.Series([None])))

    return on_distinct(address_number(address), found, values.dtype)


def _named(path: Path | str | None, what: str, variable: str, option: str) -> Path | str:
    if path is None:
        raise UsageError(f"No file of {what} is named: set {variable} or {option}.")
    return path


def _loaded(read: Callable[[Path], pl.DataFrame], path: Path | str, expected: str) -> pl.DataFrame:
    """Read a file unless it was read before and is the same since."""
    place = Path(path).expanduser().absolute()
    try:
        state = place.stat()
        version = (state.st_mtime_ns, state.st_size)
        with _loading:
            before, ranges = _tables.get((read, place), (None, None))
            if ranges is None or before != version:
                ranges = read(place)
                _tables[read, place] = (version, ranges)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {error}. {expected} is expected.") from error
    return ranges.clone()


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(_GZIP) else content


def _read_asn(path: Path) -> pl.DataFrame:
    content = _content(path).removeprefix(_BYTE_ORDER_MARK)
    separator = "\t" if b"\t" in content.partition(b"\n")[0] else ","
    refusal = f"{path} has no ASN ranges: its lines must be {_ASN_LINES}."
    try:
        rows = pl.read_csv(
            content,
            separator=separator,
            quote_char='"' if separator == "," else None,
            has_header=False,
            infer_schema=False,
            encoding="utf8-lossy",
        )
        rows.columns = _ASN_COLUMNS[separator]
    except pl.exceptions.PolarsError as error:
        raise UsageError(refusal) from error
    rows = rows.with_columns(
        address_number(pl.col("start")).alias("first"),
        address_number(pl.col("end")).alias("last"),
        pl.col("asn").cast(pl.Int64, strict=False),
    )
    numbers = pl.col("first", "last", "asn")
    if rows.select(pl.all_horizontal(numbers.is_null())).item(0, 0):
        rows = rows.slice(1)  # a header
    if rows.is_empty():
        raise UsageError(refusal)
    first, last = pl.col("first"), pl.col("last")
    right = (first <= last) & (_is_ipv4(first) == _is_ipv4(last)) & (pl.col("asn") >= 0)
    wrong = rows.filter(~right.fill_null(False))
    if not wrong.is_empty():
        raise UsageError(f"{refusal} This is none: {wrong.select(rows.columns[:4]).row(0)}")
    announced = rows.filter(pl.col("asn") > 0)
    return _disjoint(_without_ipv4(announced.select("first", "last", "asn", "as_name")))


def _read_aws_ranges(path: Path) -> pl.DataFrame:
    try:
        document = json.loads(_content(path))
        prefixes = [
            (*network(each[key]), each["service"], each["region"])
            for table, key in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix"))
            for each in document[table]
        ]
        ranges = pl.DataFrame(prefixes, schema=_AWS_SCHEMA, orient="row")
    except (ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(f"{path} is not {_AWS_DOCUMENT}: {error!r}") from error
    general = [pl.col("aws_service") == name for name in ("AMAZON", "EC2")]
    ranked = ranges.sort(*general, "aws_service", "aws_region")
    return _disjoint(_without_ipv4(ranked))


def _is_ipv4(number: pl.Expr) -> pl.Expr:
    return number.is_between(pl.lit(MAPPED, pl.UInt128), pl.lit(MAPPED_END, pl.UInt128))


def _without_ipv4(ranges: pl.DataFrame) -> pl.DataFrame:
    """Cut out of ranges of IPv6 the addresses of IPv4, which lie among them only as numbers."""
    around = (pl.col("first") < pl.lit(MAPPED, pl.UInt128)) & (
        pl.col("last") > pl.lit(MAPPED_END, pl.UInt128)
    )
    return pl.concat(
        [
            ranges.filter(~around),
            ranges.filter(around).with_columns(last=pl.lit(MAPPED - 1, pl.UInt128)),
            ranges.filter(around).with_columns(first=pl.lit(MAPPED_END + 1, pl.UInt128)),
        ]
    )


def _disjoint(ranges: pl.DataFrame) -> pl.DataFrame:
    """Cut ranges so that they are in order and none overlap: the narrowest wins, then the first."""
    in_order = ranges.sort("first", maintain_order=True)
    apart = in_order["first"] > in_order["last"].cum_max().shift()
    group = apart.fill_null(True).cum_sum().alias("group")
    alone = group.is_unique()
    cut = _cut(in_order.filter(~alone))
    return pl.concat([in_order.filter(alone), cut]).sort("first")


def _cut(ranges: pl.DataFrame) -> pl.DataFrame:
    """Go over the ends of ranges in order, with those that are open on a heap, narrowest first."""
    firsts, lasts = ranges["first"].to_list(), ranges["last"].to_list()
    ends = sorted({*firsts, *(last + 1 for last in lasts)})
    opened: list[tuple[int, int]] = []
    pieces: list[tuple[int, int, int]] = []
    following = 0
    for start, end in itertools.pairwise(ends):
        while following < len(firsts) and firsts[following] == start:
            heapq.heappush(opened, (lasts[following] - start, following))
            following += 1
        while opened and lasts[opened[0][1]] < start:
            heapq.heappop(opened)
        if opened:
            pieces.append((start, end - 1, opened[0][1]))
    schema = {"first": pl.UInt128, "last": pl.UInt128, "place": pl.Int64}
    cut = pl.DataFrame(pieces, schema=schema, orient="row")
    return cut.select("first", "last").hstack(ranges.drop("first", "last")[cut["place"]])
