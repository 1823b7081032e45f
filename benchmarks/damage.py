"""Ways to damage an object: its bytes, its text, its JSON, its Parquet."""

import gzip
import io
import json
import string
from collections.abc import Sequence
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.judging import GZIP, Seed, inflated, json_documents
from flowlake.fields import BY_NAME

PARQUET = b"PAR1"
NOT_WALKED = b"[" * 99
"""JSON that is too deep to be walked: its text is damaged instead."""

TOKENS = (
    *(b"\0", b"\n", b"\r\n", b"\r", b" ", b"  ", b"\t", b'"', b"\\", b"{", b"}", b"[", b"]", b","),
    *(
        b"\xff",
        b"\xc3\xa9",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x1c",
        b"-",
        b"#",
        b"PAR1",
    ),
    *(
        b"version account-id start\n",
        b"\nstart end bytes\n",
        b"\nsrcaddr srcaddr\n",
        GZIP,
        b"99999",
    ),
    *(b"9223372036854775808", b"-1", b"1e9", b"9" * 5000, b"253402300800", b"OK", b"\\ud800"),
    *(b"2026-01-14T22:05:00.000Z ", b"\n2026-01-14T22:05:00.000Z \n", b'{"message":"', b'"}'),
    *(b'{"messageType":"CONTROL_MESSAGE","logEvents":[', b'{"events":[', b"]}", b'{"message":5}'),
    *(b'"message":"twice",', b"\x1b]0;title\x07", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"),
    b"2 123456789010 eni-1 10.0.0.1 10.0.0.2 80 49152 6 3 180 1418530010 1418530070 ACCEPT OK\n",
)
LONG = tuple(
    each * ((1 << 20) // len(each)) for each in (b"x", b"9", b" ", b"1 ", b"a ", b"\n", b"\0")
)
"""A megabyte of one thing."""

VALUES = (
    *(
        b"1_000",
        b"+5",
        b"-0",
        b"-1",
        b"1e3",
        b"0x10",
        b"007",
        b"1.0",
        b"1,000",
        b"NaN",
        b"--",
        b"-",
    ),
    *(str(2**power - less).encode() for power in (31, 32, 63, 64) for less in (0, 1)),
    *("٣".encode(), b"\xef\xbc\x91", b"253402300799", b"253402300800", b"253402300799999"),
    *(b"fe80::1%eth0", b"::ffff:192.0.2.1", b"192.000.002.001", b"192.0.2", b"2001:DB8::1", b"::"),
    *(b"../../etc", b"a/b", b"a=b", b"%2e%2e", b"__HIVE_DEFAULT_PARTITION__", b"NULL", b"x" * 300),
    *(
        b"\x0b",
        b"\x0c",
        b"\xc2\x85",
        b"\xc2\xa0",
        b"\xe3\x80\x80",
        b"\xe2\x80\x8b",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
    ),
    *(b"\xef\xbb\xbf5", b"5\0", b'"5"', b"'5'", b"OK\r", b"accept", b"ACCEPT\tOK"),
)
"""What may stand in the place of one field."""
ODD = (
    *("null", "true", "0", "-1", "1.5", "NaN", "1" + 4000 * "0", '""', '"-"', "[]", "{}", "[[]]"),
    *('"\\ud800"', '"a\\nb"', '"\\u0000"', '"%s"' % (9000 * "x"), '{"message": null}'),
    *('{"message": ""}', '{"message": "x y"}', '{"events": []}', '{"logEvents": null}'),
    '"2 123456789010 eni-1 - - - - - - - 1 2 - NODATA"',
)
"""Values in JSON that no message is."""


def damaged(random: Random, seeds: Sequence[Seed]) -> tuple[Seed, bytes]:
    """One of the seeds, and an object that is left of it."""
    seed, other = random.choice(seeds), random.choice(seeds)
    content = inflated(seed.body)
    match random.randrange(5):
        case 0:
            return seed, hurt(random, seed.body, other.body)
        case 1 | 2 | 3 if content.startswith(PARQUET):
            return seed, random.choice([hurt_footer, hurt_table])(random, content)
        case 1 | 2 | 3 if NOT_WALKED not in content and (documents := json_documents(content)):
            return seed, packed(random, hurt_json(random, documents))
    how = hurt_lines if random.random() < 0.5 else hurt
    return seed, packed(random, how(random, content, inflated(other.body)))


def packed(random: Random, content: bytes) -> bytes:
    cut = random.randint(0, len(content))
    match random.randrange(4):
        case 0:
            return _gzip(content)
        case 1:
            return _gzip(content[:cut]) + _gzip(content[cut:])
        case 2 if random.random() < 0.2:
            return _gzip(_gzip(content))
        case 2 if random.random() < 0.5:
            return hurt_gzip(random, _gzip(content))
    return content


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def hurt_gzip(random: Random, body: bytes) -> bytes:
    """Give a gzip other fields in front, or another end."""
    named = {4: b"\3\0abc", 8: b"../x.log\0", 16: b"a comment\0"}
    match random.randrange(5):
        case 0:
            flags = random.sample(sorted(named), random.randint(1, 3))
            fields = b"".join(named[flag] for flag in sorted(flags))
            return body[:3] + bytes([sum(flags)]) + body[4:10] + fields + body[10:]
        case 1:
            at = random.randint(1, 8)
            return (
                body[:-at]
                + bytes([body[-at] ^ 1 << random.randrange(8)])
                + body[len(body) - at + 1 :]
            )
        case 2:
            return body + random.choice([b"\0", b"x", b"\n", GZIP, body[:12], b"\0" * 999])
        case 3:
            return body[: -random.randint(1, 9)]
    return b"\x28\xb5\x2f\xfd" + body


def hurt_lines(random: Random, text: bytes, other: bytes) -> bytes:
    """Damage fields and lines of text: of another object's too, and the header's own."""
    lines, others = text.split(b"\n"), other.split(b"\n")
    for _ in range(random.choice([1, 1, 2, 3, 9])):
        at = random.randrange(len(lines))
        fields = lines[at].split(b" ")
        which = random.randrange(len(fields))
        match random.randrange(9):
            case 0:
                lines.insert(at, lines[0])
            case 1:
                lines.insert(at, random.choice(others))
            case 2:
                del fields[which]
            case 3:
                fields.insert(which, random.choice(fields))
            case 4:
                random.shuffle(fields)
            case 5:
                at, fields = 0, lines[0].split(b" ")[:which]
            case _:
                fields[which] = random.choice(VALUES)
        lines[at] = b" ".join(fields)
    return random.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n"]).join(lines)


def hurt(random: Random, body: bytes, other: bytes) -> bytes:
    """Damage bytes at one to three places."""
    data = bytearray(body)
    for _ in range(random.choice([1, 1, 2, 3])):
        size = random.choice([1, 2, 4, 16, 64, 300, 1 + len(data) // 2])
        at, to = random.randint(0, len(data)), random.randint(0, len(data))
        match random.randrange(10):
            case 0 if random.random() < 0.1:
                data[at:at] = random.choice(LONG)
            case 0 | 1 if data:
                for _ in range(random.choice([1, 1, 2, 8])):
                    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + size]
            case 4:
                start = random.randint(0, len(other))
                data[at:to] = other[start : start + random.choice([size, len(other)])]
            case 5:
                data[to:to] = data[at : at + size] * random.choice([1, 2, 50])
            case 6:
                data[at:at] = random.choice(TOKENS) * random.choice([1, 1, 1, 2, 3000])
            case 7:
                data[at : at + size] = random.randbytes(size)
            case 8:
                data[at : at + size] = bytes([random.choice([0, 10, 32, 255])]) * size
            case _:
                data[at:at] = random.choice(TOKENS)
    return bytes(data)


def hurt_json(random: Random, documents: list[Any]) -> bytes:
    """Damage sound JSON so that it stays sound."""
    root = documents
    for _ in range(random.choice([1, 1, 2, 4])):
        holder: Any = root
        while True:
            keys = [*holder] if isinstance(holder, dict) else [*range(len(holder))]
            if not keys:
                break
            at = random.choice(keys)
            inside = holder[at]
            if isinstance(inside, (dict, list)) and inside and random.random() < 0.8:
                holder = inside
                continue
            match random.randrange(5):
                case 0:
                    del holder[at]
                case 1 if isinstance(holder, dict):
                    holder[random.choice(["message", "events", "logEvents", "x"])] = holder.pop(at)
                case 1 | 2 if isinstance(holder, list):
                    holder.insert(random.choice(keys), json.loads(json.dumps(inside)))
                case 3:
                    holder[at] = random.choice([[inside], {"message": inside}, [[[inside]]]])
                case _:
                    holder[at] = json.loads(random.choice(ODD))
            break
    indent, separator = random.choice([None, None, 1]), random.choice(["", "\n", ",", "\ufeff"])
    return separator.join(json.dumps(each, indent=indent) for each in root).encode()


def hurt_footer(random: Random, body: bytes) -> bytes:
    """Damage a Parquet file's footer, and say its new length right."""
    length = int.from_bytes(body[-8:-4], "little")
    footer = hurt(random, body[-8 - length : -8], body[: random.choice([40, 4000])])
    return body[: -8 - length] + footer + len(footer).to_bytes(4, "little") + PARQUET


def hurt_table(random: Random, body: bytes) -> bytes:
    """Write a Parquet file anew with a column of another type, name or content, or without it."""
    try:
        return _written(random, _hurt_columns(random, pq.read_table(pa.BufferReader(body))))
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return hurt_footer(random, body)  # damaged already, or a table that pyarrow does not write


def _hurt_columns(random: Random, table: pa.Table) -> pa.Table:
    for _ in range(random.choice([1, 2, 5])):
        at = random.randrange(table.num_columns)
        name = random.choice([*table.column_names, *random.sample(sorted(BY_NAME), 9), "e é"])
        odd = random.choice(COLUMNS)(random, table.num_rows)
        match random.randrange(4):
            case 0 if table.num_columns > 1:
                table = table.remove_column(at)
            case 1:
                table = table.append_column(name.replace("-", "_"), odd)
            case _:
                table = table.set_column(at, name.replace("-", "_"), odd)
    return table


def _written(random: Random, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression=random.choice(["none", "snappy", "gzip", "zstd"]),
        row_group_size=random.choice([7, 1000]),
        use_dictionary=random.choice([True, False]),
        data_page_version=random.choice(["1.0", "2.0"]),
        store_schema=random.choice([True, False]),
    )
    return sink.getvalue()


def _numbers(type_: pa.DataType, bits: int) -> Any:
    def column(random: Random, rows: int) -> pa.Array:
        edges = [None, 0, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), random.getrandbits(bits - 1)]
        return (
            pa.array(random.choices(edges, k=rows), pa.int64())
            .cast(pa.int32() if bits == 32 else pa.int64())
            .cast(type_)
        )

    return column


def _texts(type_: pa.DataType) -> Any:
    def column(random: Random, rows: int) -> pa.Array:
        some = [None, b"", b"-", b"\xff", b"None", b"5", b" 5", b"\xed\xa0\x80", b"a\0b", b"../x"]
        some += ["".join(random.choices(string.printable, k=9)).encode()]
        return pa.array(random.choices(some, k=rows), pa.binary()).view(type_)

    return column


COLUMNS = (
    *(_numbers(pa.timestamp(unit), 64) for unit in ("ms", "us", "ns")),
    _numbers(pa.timestamp("s"), 52),
    *(
        _numbers(pa.timestamp(unit, zone), 64)
        for unit in ("us", "ns")
        for zone in ("UTC", "-08:00")
    ),
    *(_numbers(type_, 32) for type_ in (pa.date32(), pa.time32("s"), pa.int32(), pa.float64())),
    *(
        _numbers(type_, 64)
        for type_ in (pa.date64(), pa.time64("us"), pa.int64(), pa.duration("s"))
    ),
    *(_texts(type_) for type_ in (pa.string(), pa.binary())),
    lambda _, rows: pa.nulls(rows),
    lambda _, rows: pa.array([[]] * rows, pa.list_(pa.string())),
    lambda random, rows: pa.array(random.choices([True, False, None], k=rows)),
    lambda random, rows: pa.array(random.choices([0.5, 1e300, float("inf"), float("nan")], k=rows)),
    lambda random, rows: pa.array(random.choices([1, 10**30], k=rows), pa.decimal128(38, 5)),
    lambda random, rows: pa.array(random.choices([1, 10**30], k=rows), pa.decimal256(70, 5)),
    lambda random, rows: pa.array(random.choices(["a", "5", None], k=rows)).dictionary_encode(),
)
