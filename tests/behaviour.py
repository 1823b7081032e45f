"""Records made by hand for the detections, and the evidence that their incidents name."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl

from flowlake.detections import INCIDENTS
from flowlake.fields import polars_schema
from flowlake.macros import register_macros

DAY = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""

Record = dict[str, Any]


def record(start: datetime, seconds: float = 1, **fields: Any) -> Record:
    """A record of the default format, as an S3 delivery has it."""
    return {
        "account_id": "123456789012",
        "region": "eu-west-1",
        "interface_id": "eni-1",
        "protocol": 6,
        "action": "ACCEPT",
        "log_status": "OK",
        "start_time": start,
        "end_time": start + timedelta(seconds=seconds),
        "flow_log_id": "fl-1",
        **fields,
    }


def exchange(
    start: datetime,
    client: str,
    client_port: int,
    server: str,
    port: int,
    *,
    sent: tuple[int, int] = (12, 2_000),
    back: tuple[int, int] | None = (12, 3_600),
    seconds: float = 5,
    **fields: Any,
) -> Iterator[Record]:
    """Both directions of a connection; ``sent`` and ``back`` are packets and bytes."""
    packets, size = sent
    yield record(
        start,
        seconds,
        srcaddr=client,
        dstaddr=server,
        srcport=client_port,
        dstport=port,
        **{"packets": packets, "bytes": size, **fields},
    )
    if back is not None:
        packets, size = back
        yield record(
            start,
            seconds,
            srcaddr=server,
            dstaddr=client,
            srcport=port,
            dstport=client_port,
            **{"packets": packets, "bytes": size, **fields},
        )


def flows(*records: Iterable[Record]) -> pl.LazyFrame:
    """Records with every column of the lake."""
    rows = [row for some in records for row in some]
    return pl.DataFrame(rows, schema=polars_schema()).lazy()


def counts(incident: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's own numbers."""
    found = json.loads(incident["counts"])
    assert isinstance(found, dict)
    return found


def evidence(incident: Mapping[str, Any], flows: pl.LazyFrame) -> int:
    """How many records the condition of an incident selects, within its time."""
    connection = duckdb.connect()
    register_macros(connection, incident["condition"])
    connection.register("flows", flows.collect().to_arrow())
    row = connection.execute(
        f"SELECT count(*) FROM flows WHERE ({incident['condition']}) "
        "AND start_time >= $first AND end_time <= $last",
        {"first": incident["first_seen"], "last": incident["last_seen"]},
    ).fetchone()
    assert row is not None
    return int(row[0])


def only(found: pl.DataFrame) -> dict[str, Any]:
    """The one incident that was found."""
    assert found.schema == INCIDENTS
    assert found.height == 1, found
    return found.row(0, named=True)
