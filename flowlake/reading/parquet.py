"""Parquet flow logs, AWS's own and those that other tools rewrote -> typed columns and rejects.

AWS writes a missing text as ``-`` and a missing number as null (the Avro schema in the footer of a
delivered file says so); other writers have other types, and texts such as ``None``.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.fields import Field, field_for
from flowlake.reading.formats import MISSING, REJECTS, Batch, Format, names_twice
from flowlake.reading.values import LONGEST_REJECT, timestamps, typed
from flowlake.storage import Body

MAGIC = b"PAR1"

ROWS = 250_000
"""Rows that are read at once."""

ANY_ROWS = 1 << 22
"""Rows up to which it does not matter in how few bytes they are."""

NO_NUMBER = ("None", "null", "NULL", "nan", "NaN", "")
"""Texts that writers of Parquet put where a number is missing."""

MICROSECONDS = {
    "s": Fraction(1_000_000),
    "ms": Fraction(1_000),
    "us": Fraction(1),
    "ns": Fraction(1, 1_000),
}

DIGITS = 12
"""An account id has so many; a writer that took it for a number lost its zeros in front."""


def read_parquet(body: Body) -> Iterator[Batch]:
    """Read a Parquet object; a line's number is that of its row, from 1.

    Raises:
        NotAFlowLog: before the first batch, when its columns are not those of a flow log.
        ObjectUnreadable: before the first batch, when its footer cannot be read, two columns are
            one field, a column is nested, or it says more rows than such a file can hold.
    """
    try:
        stored = pa.py_buffer(body)
        file = pq.ParquetFile(pa.BufferReader(stored))
        fields = _fields(file.schema_arrow)
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ObjectUnreadable(f"the Parquet footer cannot be read: {error}") from error
    if min(groups, default=0) < 0 or sum(groups) != file.metadata.num_rows:
        raise ObjectUnreadable("the Parquet footer contradicts itself on the number of rows")
    if sum(groups) > max(ANY_ROWS, stored.size):
        raise ObjectUnreadable(
            f"no flow log: {stored.size:,} bytes of Parquet hold {sum(groups):,} rows"
        )
    row = 1
    for group, rows in enumerate(groups):
        done = 0
        reason = f"row group {group} ends early"
        try:
            for batch in file.iter_batches(ROWS, row_groups=[group]):
                yield _read(batch, fields, row + done)
                done += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = f"row group {group} cannot be read: {error}"[:LONGEST_REJECT]
        for lost in range(row + done, row + rows, ROWS):
            numbers = range(lost, min(lost + ROWS, row + rows))
            yield _batch(pl.DataFrame(), [(number, reason, None) for number in numbers], fields)
        row += rows


def _fields(schema: pa.Schema) -> Format:
    fields = tuple(field_for(name) for name in schema.names)
    names = {field.name for field in fields if field.version}
    mostly = 2 * len(names) >= len(fields) > 0
    if not mostly and not {"srcaddr", "dstaddr"} <= names:
        ocsf = "class_uid" in schema.names
        raise NotAFlowLog("OCSF Parquet (Security Lake)" if ocsf else "Parquet of something else")
    if names_twice(fields):
        raise ObjectUnreadable("two of its columns are the same field")
    for field, column in zip(fields, schema, strict=True):
        if not _readable(column.type, field):
            raise ObjectUnreadable(f"its column {column.name} is {column.type}, not {field.type}")
    return fields


def _readable(type_: pa.DataType, field: Field) -> bool:
    """Whether values of an Arrow type can be those of a field."""
    is_a = pa.types
    if is_a.is_dictionary(type_):
        type_ = type_.value_type
    if _is_text(type_) or is_a.is_null(type_) or is_a.is_integer(type_):
        return True
    if is_a.is_floating(type_) or is_a.is_decimal128(type_):
        return True
    if is_a.is_timestamp(type_) or is_a.is_date(type_):
        return field.type in ("time", "text")
    return field.type == "text" and bool(is_a.is_boolean(type_) or is_a.is_time(type_))


def _is_text(type_: pa.DataType) -> bool:
    is_a = pa.types
    texts = (is_a.is_string, is_a.is_large_string, is_a.is_string_view)
    binaries = (is_a.is_binary, is_a.is_large_binary, is_a.is_binary_view)
    return any(each(type_) for each in (*texts, *binaries, is_a.is_fixed_size_binary))


def _read(batch: pa.RecordBatch, fields: Format, first: int) -> Batch:
    reasons: dict[int, str] = {}
    found: list[pl.Series] = []
    columns: list[pl.Series] = []
    for field, column in zip(fields, batch.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if field.type == "time" and pa.types.is_temporal(column.type):
            days = pa.types.is_date32(column.type)
            series = pl.Series(column.cast(pa.int32() if days else pa.int64())).cast(pl.Int64)
            values, wrong = timestamps(series, _microseconds(column.type), field)
        else:
            series, damaged = _in_polars(column, field)
            values, wrong = typed(_present(series, field), field)
            wrong = damaged | wrong
        found.append(series)
        columns.append(values.rename(field.column))
        reasons = wrong | reasons
    flows = pl.DataFrame(columns)
    if not reasons:
        return _batch(flows, [], fields)
    keep = pl.Series([row not in reasons for row in range(flows.height)], dtype=pl.Boolean)
    rejects = [
        (first + row, reason, " ".join(_token(each[row]) for each in found)[:LONGEST_REJECT])
        for row, reason in sorted(reasons.items())
    ]
    return _batch(flows.filter(keep), rejects, fields)


def _microseconds(type_: pa.DataType) -> Fraction:
    """How long a tick of a timestamp or a date is."""
    if pa.types.is_date32(type_):
        return Fraction(86_400_000_000)
    return MICROSECONDS["ms" if pa.types.is_date64(type_) else type_.unit]


def _in_polars(column: pa.Array, field: Field) -> tuple[pl.Series, dict[int, str]]:
    """The column in Polars, which believes any text to be UTF-8: what is not is escaped, and wrong.

    Parquet readers hand text out as they find it. Dates and times are texts here: as such Arrow
    shows any, and Polars stops at those that no calendar has.
    """
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    if not _is_text(column.type):
        return pl.Series(column), {}
    column = column.cast(pa.large_binary())
    try:
        return pl.Series(column.cast(pa.large_string())), {}
    except pa.ArrowInvalid:
        found: list[bytes | None] = column.to_pylist()
    texts = [None if each is None else each.decode(errors="backslashreplace") for each in found]
    wrong = {
        row: f"{field.name} is not UTF-8 text"
        for row, (text, each) in enumerate(zip(texts, found, strict=True))
        if text is not None and text.encode() != each
    }
    return pl.Series(texts, dtype=pl.String), wrong


def _present(column: pl.Series, field: Field) -> pl.Series:
    """The column with nulls where its writer says that there is no value."""
    if column.dtype == pl.String:
        missing = [MISSING] if field.type == "text" else [MISSING, *NO_NUMBER]
        texts = column.set(column.is_in(missing).fill_null(False), None)
    elif field.type == "text":
        texts = column.cast(pl.String)
        if field.name == "account-id" and column.dtype.is_integer():
            texts = texts.str.zfill(DIGITS)
    else:
        return column.fill_nan(None) if column.dtype.is_float() else column
    return texts.cast(pl.Categorical) if field.type == "text" else texts


def _token(value: object) -> str:
    return MISSING if value is None else str(value)


def _batch(
    flows: pl.DataFrame, rejects: Sequence[tuple[int, str, str | None]], fields: Format
) -> Batch:
    return Batch(
        flows,
        pl.DataFrame(rejects, schema=REJECTS, orient="row"),
        flows.height + len(rejects),
        tuple(field.name for field in fields),
        "parquet",
    )
