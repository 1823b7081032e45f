"""The catalogue of fields: complete, in order, and the same in every engine."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from flowlake.fields import (
    BY_COLUMN,
    BY_NAME,
    COLUMNS,
    DEFAULT_FORMAT,
    FIELDS,
    LAKE_COLUMNS,
    SQL_TYPES,
    TRANSIT_GATEWAY_FORMAT,
    ColumnType,
    Field,
    column_name,
    field_for,
    flows_schema,
    polars_schema,
)

RECORDS = sorted((Path(__file__).parent / "data" / "records").glob("*-v[2-6].log"))

VPC = [field for field in FIELDS if "vpc" in field.sources]
TRANSIT_GATEWAY = [field for field in FIELDS if "transit-gateway" in field.sources]

each_field = pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)


def test_versions_have_as_many_fields_as_aws_says() -> None:
    assert Counter(field.version for field in VPC) == {
        2: 14,
        3: 7,
        4: 4,
        5: 4,
        7: 10,
        8: 1,
        9: 1,
        10: 1,
        11: 12,
    }
    assert len(VPC) == 54
    assert len(TRANSIT_GATEWAY) == 36


def test_order_is_vpc_fields_by_version_then_those_of_the_transit_gateway() -> None:
    assert list(FIELDS[:54]) == VPC
    assert [field.version for field in VPC] == sorted(field.version for field in VPC)
    only = [field for field in FIELDS if field.sources == ("transit-gateway",)]
    assert list(FIELDS[54:]) == only
    assert {field.version for field in only} == {6}
    assert [field.name for field in only] == [
        name for name in TRANSIT_GATEWAY_FORMAT if BY_NAME[name] in only
    ]


def test_default_formats() -> None:
    assert " ".join(DEFAULT_FORMAT) == (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
        " start end action log-status"
    )
    assert len(TRANSIT_GATEWAY_FORMAT) == 36
    assert set(TRANSIT_GATEWAY_FORMAT) == {field.name for field in TRANSIT_GATEWAY}
    assert TRANSIT_GATEWAY_FORMAT[:3] == ("version", "resource-type", "account-id")
    assert "action" not in TRANSIT_GATEWAY_FORMAT


def test_names_and_columns_are_unique() -> None:
    assert list(BY_NAME.values()) == list(BY_COLUMN.values()) == list(FIELDS)
    columns = [each.column for each in COLUMNS]
    assert len({column.lower() for column in columns}) == len(columns) == 72 + 3
    assert all(column.isidentifier() for column in columns)


@each_field
def test_fields_are_well_formed(field: Field) -> None:
    assert field.name == field.name.lower()
    assert field.meaning.endswith(".")
    assert 2 <= field.version <= 11
    if field.type == "text":
        assert (field.minimum, field.maximum) == (None, None)
    else:
        assert field.values == ()
        assert field.minimum is not None
        assert field.maximum is None or field.minimum < field.maximum
    assert len(set(field.values)) == len(field.values)


@each_field
def test_a_field_is_found_by_either_spelling(field: Field) -> None:
    assert field_for(field.name) is field
    assert field_for(field.name.replace("-", "_")) is field
    assert column_name(field.name) == field.column


def test_numbers_have_the_types_of_aws_parquet() -> None:
    types = {field.name: field.type for field in FIELDS if field.type != "text"}
    assert types == {
        "version": "int32",
        "srcport": "int32",
        "dstport": "int32",
        "protocol": "int32",
        "packets": "int64",
        "bytes": "int64",
        "start": "time",
        "end": "time",
        "tcp-flags": "int32",
        "traffic-path": "int32",
        "encryption-status": "int32",
        "packets-lost-no-route": "int64",
        "packets-lost-blackhole": "int64",
        "packets-lost-mtu-exceeded": "int64",
        "packets-lost-ttl-expired": "int64",
    }


def test_milliseconds_are_out_of_range_and_every_time_in_range_fits_a_timestamp() -> None:
    start = BY_NAME["start"]
    assert start.minimum is not None
    assert start.maximum is not None
    assert start.minimum < 1_533_851_315 < start.maximum < 1_533_851_315_000
    last = pa.scalar(start.maximum * 1_000_000, flows_schema().field("start_time").type)
    assert str(last.as_py()) == "9999-12-31 23:59:59+00:00"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("log-status", "log_status"),
        ("start", "start_time"),
        ("end", "end_time"),
        ("some-new-field", "some_new_field"),
        ("Some.New Field", "some_new_field"),
        ("start-time", "start_time_"),
        ("date", "date_"),
        ("object-id", "object_id_"),
        ("flow_log_id", "flow_log_id_"),
    ],
)
def test_column_names(name: str, column: str) -> None:
    assert column_name(name) == column
    assert field_for(name).column == column


def test_an_unknown_name_is_a_text_field() -> None:
    field = field_for("some-new-field")
    assert (field.name, field.column, field.type) == ("some-new-field", "some_new_field", "text")
    assert field == field_for("some-new-field")
    assert field not in FIELDS


def test_lake_columns() -> None:
    assert [(own.column, own.type) for own in LAKE_COLUMNS] == [
        ("object_id", "int64"),
        ("flow_log_id", "text"),
        ("date", "date"),
    ]


def test_arrow_schema() -> None:
    schema = flows_schema()
    assert schema.names == [*BY_COLUMN, "object_id", "flow_log_id", "date"]
    assert schema.field("account_id").type == pa.string()
    assert schema.field("protocol").type == pa.int32()
    assert schema.field("bytes").type == pa.int64()
    assert schema.field("start_time").type == pa.timestamp("us", "UTC")
    assert schema.field("date").type == pa.date32()
    assert all(field.nullable for field in schema)


def test_polars_schema_is_the_arrow_schema() -> None:
    # Polars' text is wide in Arrow: only the direction from Arrow keeps every type.
    assert pl.Schema(flows_schema()) == polars_schema()
    assert polars_schema()["start_time"] == pl.Datetime("us", "UTC")


def test_sql_types_are_those_duckdb_gives_the_arrow_schema() -> None:
    assert set(SQL_TYPES) == set(get_args(ColumnType))
    with duckdb.connect() as connection:
        flows = connection.from_arrow(flows_schema().empty_table())
        assert [str(each) for each in flows.types] == [SQL_TYPES[each.type] for each in COLUMNS]


def test_there_are_sample_records() -> None:
    assert len(RECORDS) == 6


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_name_in_real_headers_is_known(path: Path) -> None:
    header = path.read_text().splitlines()[0].split()
    assert [name for name in header if name not in BY_NAME] == []
    assert len(set(header)) == len(header)


def test_default_header_as_delivered() -> None:
    (path,) = (path for path in RECORDS if path.stem == "ktranslate-v2")
    assert tuple(path.read_text().splitlines()[0].split()) == DEFAULT_FORMAT


def test_the_catalogue_imports_no_engine() -> None:
    code = (
        "import sys, flowlake.fields, flowlake.protocols;"
        "print({'polars', 'pyarrow', 'duckdb', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
