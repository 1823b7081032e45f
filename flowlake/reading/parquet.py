"""Parquet flow logs, AWS's own and those that other tools rewrote -> typed columns and rejects.

AWS writes a missing text as ``-`` and a missing number as null (the Avro schema in the footer of a
delivered file says so); other writers have other types, and texts such as ``None``.
"""

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.fields import Field, field_for
from flowlake.reading.formats import MISSING, REJECTS, Batch, Format, names_twice, types
from flowlake.reading.values import LONGEST_REJECT, typed

MAGIC = b"PAR1"

ROWS = 250_000
"""Rows that are read at once."""

NO_NUMBER = ("None", "null", "NULL", "nan", "NaN", "")
"""Texts that writers of Parquet put where a number is missing."""

DIGITS = 12
"""An account id has so many; a writer that took it for a number lost its zeros in front."""


def read_parquet(body: bytes) -> Iterator[Batch]:
    """Read a Parquet object; a line's number is that of its row, from 1.

    Raises:
        NotAFlowLog: before the first batch, when its columns are not those of a flow log.
        ObjectUnreadable: before the first batch, when its footer cannot be read, two columns are
            one field, or a column is nested.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
    except (pa.ArrowException, OSError) as error:
        raise ObjectUnreadable(f"the Parquet footer cannot be read: {error}") from error
    fields = _fields(file.schema_arrow)
    row = 1
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        done = 0
        try:
            for batch in file.iter_batches(ROWS, row_groups=[group]):
                yield _read(pl.DataFrame(batch), fields, row + done)
                done += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = f"row group {group} cannot be read: {error}"[:LONGEST_REJECT]
            lost = [(number, reason, None) for number in range(row + done, row + rows)]
            yield _batch(pl.DataFrame(schema=types(fields)), lost, fields)
        row += rows


def _fields(schema: pa.Schema) -> Format:
    fields = tuple(field_for(name) for name in schema.names)
    names = {field.name for field in fields if field.version}
    if 2 * len(names) < len(fields) and not {"srcaddr", "dstaddr"} <= names:
        ocsf = "class_uid" in schema.names
        raise NotAFlowLog("OCSF Parquet (Security Lake)" if ocsf else "Parquet of something else")
    if names_twice(fields):
        raise ObjectUnreadable("two of its columns are the same field")
    for column in schema:
        if pa.types.is_nested(column.type):
            raise ObjectUnreadable(f"its column {column.name} is nested: {column.type}")
    return fields


def _read(rows: pl.DataFrame, fields: Format, first: int) -> Batch:
    reasons: dict[int, str] = {}
    columns: list[pl.Series] = []
    for field, column in zip(fields, rows.iter_columns(), strict=True):
        values, wrong = typed(_present(column, field), field)
        columns.append(values.rename(field.column))
        reasons = wrong | reasons
    flows = pl.DataFrame(columns)
    if not reasons:
        return _batch(flows, [], fields)
    keep = pl.Series([row not in reasons for row in range(rows.height)], dtype=pl.Boolean)
    rejects = [
        (first + row, reason, " ".join(_token(value) for value in rows.row(row))[:LONGEST_REJECT])
        for row, reason in sorted(reasons.items())
    ]
    return _batch(flows.filter(keep), rejects, fields)


def _present(column: pl.Series, field: Field) -> pl.Series:
    """The column with nulls where its writer says that there is no value."""
    if column.dtype in (pl.String, pl.Binary, pl.Categorical):
        texts = column.cast(pl.String)
        missing = [MISSING] if field.type == "text" else [MISSING, *NO_NUMBER]
        texts = texts.set(texts.is_in(missing).fill_null(False), None)
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
