"""The other engines that can ask a lake: how each spells what DuckDB's dialect has of its own.

Spark SQL was run (4.3, ``tests/test_translating.py``); Trino and Athena were not, and their list of
functions here was checked against Trino's "IP address functions" only. Athena's engine version 3
is taken to have those of Trino.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from flowlake.addresses import MAPPED, MAPPED_END
from flowlake.errors import UsageError

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUPS = "[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, and its words for what saved SQL says in DuckDB's dialect."""

    title: str
    dialect: str
    """What sqlglot calls its SQL."""
    definitions: Mapping[str, str]
    """Heads and bodies in its own SQL of functions that it lacks; they may build on each other."""
    number: Callable[[int], str]
    """An address, given as FlowLake's number, as ``address_number`` gives it there."""
    functions: frozenset[str]
    """The functions that a translation may call: each means there what it means in DuckDB."""
    of_trino: bool
    """Whether it is Trino's SQL, where some words of DuckDB's mean something else."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _digits(number: int) -> str:
    return f"'{number:032x}'"


def _ip_address(number: int) -> str:
    mapped = MAPPED <= number <= MAPPED_END
    address = ipaddress.ip_address(number - MAPPED) if mapped else ipaddress.IPv6Address(number)
    return f"CAST('{address}' AS IPADDRESS)"


_COMMON = _words("""
    abs avg cast coalesce concat concat_ws count date_trunc dense_rank element_at exists greatest if
    lag lead least length lower max min nullif rank replace row_number sum transform try_cast upper
""")

# An address is its 32 hexadecimal digits: texts of one length sort as the numbers do.
_SPARK = Engine(
    title="Spark SQL",
    dialect="spark",
    definitions={
        "epoch_us(moment)": "unix_micros(moment)",
        "make_timestamptz(micros)": "timestamp_micros(micros)",
        "ipv6_digits(side)": """regexp_replace(
            regexp_replace(side, '([0-9a-fA-F]+)', '000$1'),
            '[0-9a-fA-F]*([0-9a-fA-F]{4})(:|$)', '$1')""",
        "ipv6_number(address)": """element_at(transform(
            array(struct(
                ipv6_digits(split_part(address, '::', 1)) AS high,
                ipv6_digits(split_part(address, '::', 2)) AS low)),
            half -> CASE
                WHEN length(half.high) + length(half.low)
                     <= CASE WHEN address LIKE '%::%' THEN 28 ELSE 32 END
                 AND (address LIKE '%::%' OR length(half.high) = 32)
                THEN lower(half.high || repeat('0', 32 - length(half.high) - length(half.low))
                           || half.low) END), 1)""",
        "address_number(address)": f"""CASE
            WHEN regexp_like(address, '^({_OCTET}[.]){{3}}{_OCTET}$')
            THEN '{MAPPED >> 32:024x}' || format_string('%02x%02x%02x%02x',
                try_cast(split_part(address, '.', 1) AS INT),
                try_cast(split_part(address, '.', 2) AS INT),
                try_cast(split_part(address, '.', 3) AS INT),
                try_cast(split_part(address, '.', 4) AS INT))
            WHEN regexp_like(address, '^({_GROUPS})?(::({_GROUPS})?)?$')
            THEN ipv6_number(address) END""",
    },
    number=_digits,
    functions=_COMMON
    | _words(
        "array format_string regexp_replace repeat split_part struct timestamp_micros unix_micros"
    ),
    of_trino=False,
)

# to_unixtime is a DOUBLE, which holds a whole second exactly, and a record's times are such.
_TRINO = Engine(
    title="Trino",
    dialect="trino",
    definitions={
        "epoch_us(moment)": "CAST(to_unixtime(moment) * 1000000 AS BIGINT)",
        "make_timestamptz(micros)": "from_unixtime(micros / 1000000, 'UTC')",
        "address_number(address)": "TRY_CAST(address AS IPADDRESS)",
    },
    number=_ip_address,
    functions=_COMMON | _words("bitwise_and from_unixtime to_unixtime"),
    of_trino=True,
)

ENGINES: dict[str, Engine] = {
    "spark": _SPARK,
    "trino": _TRINO,
    "athena": replace(_TRINO, title="Athena", dialect="athena"),
}
"""The engines by the names that the command line has for them."""


def engine(name: str) -> Engine:
    """The engine of a name; UsageError for one that is not in `ENGINES`."""
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}: choose one of {', '.join(ENGINES)}.")
    return ENGINES[name]
