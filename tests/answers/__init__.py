"""What the questions are held against: data sets, arguments, and answers worked out by hand.

Each room of `flowlake.analyses` has a module of the same name here, with the arguments that each
question is asked with besides its defaults, and its answers.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from flowlake.fields import BY_NAME, DEFAULT_FORMAT, flows_schema


@dataclass(frozen=True)
class Answer:
    """A question, ten flows or fewer, and the rows that a person works out from them."""

    question: str
    flows: pa.Table
    rows: list[tuple[Any, ...]]
    arguments: dict[str, Any] = field(default_factory=dict)
    history: pa.Table | None = None

    def __repr__(self) -> str:
        spelled = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.question}({spelled})"


def at(second: int) -> datetime:
    """A moment in UTC, given as Unix seconds."""
    return datetime.fromtimestamp(second, UTC)


def flows_of(rows: list[dict[str, Any]]) -> pa.Table:
    """A table as the lake gives it; what a row does not name is null."""
    return pa.Table.from_pylist(rows, schema=flows_schema())


def parse(text: str, header: tuple[str, ...] = DEFAULT_FORMAT) -> pa.Table:
    """Lines of a format as a table, by the plainest code that could work."""
    rows = []
    for line in text.splitlines():
        row: dict[str, Any] = {}
        for name, value in zip(header, line.split(), strict=True):
            known = BY_NAME[name]
            if value == "-":
                continue
            row[known.column] = value if known.type == "text" else int(value)
            if known.type == "time":
                row[known.column] = at(int(value))
        rows.append(row)
    return flows_of(rows)


# Records of the default format: a ping that the security group let in and the network ACL did
# not let out (Amazon VPC User Guide), one web request, a refused scan, a name lookup, an interface
# without traffic, and a protocol number that IANA has not given away. 6,000 bytes in all.
WORKED_OUT = parse(
    """\
2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK
2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK
2 123456789010 eni-0a 10.0.0.5 10.0.0.9 49152 443 6 10 1000 1432917000 1432917060 ACCEPT OK
2 123456789010 eni-0a 10.0.0.9 10.0.0.5 443 49152 6 8 4000 1432917000 1432917060 ACCEPT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40000 22 6 1 40 1432917200 1432917201 REJECT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40001 22 6 2 80 1432917100 1432917110 REJECT OK
2 123456789010 eni-0a 198.51.100.7 10.0.0.5 40002 3389 6 1 44 1432917300 1432917300 REJECT OK
2 123456789010 eni-0a 10.0.0.5 10.0.0.2 5353 53 17 1 64 1432917010 1432917010 ACCEPT OK
2 123456789010 eni-0b - - - - - - - 1432917000 1432917060 - NODATA
2 123456789010 eni-0a 10.0.0.5 10.0.0.9 0 0 200 1 100 1432917020 1432917020 ACCEPT OK
"""  # noqa: E501
)
