"""The sample in every shape and layout in which flow logs come: the same records, other objects.

AWS delivers text or Parquet, in the default or the Hive-compatible layout; CloudWatch Logs exports
a log group to S3; Firehose delivers what a subscription or the flow log itself sends it. None of
the last three says what the fields are, so these hold the sample's records in the default format.
``docs/inputs.md`` shows each shape.
"""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Unpack
from uuid import UUID

import polars as pl
import pyarrow.parquet as pq
from isal import igzip

from flowlake.errors import UsageError
from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, field_for
from flowlake.layout import ObjectName, hive_key, parse_key
from flowlake.samples import (
    Delivery,
    SampleKnobs,
    SampleSummary,
    Tables,
    Target,
    deliver_text,
    network,
    object_bytes,
    stable_name,
    write_sample,
)

CONTROL_MESSAGE = {
    "messageType": "CONTROL_MESSAGE",
    "owner": "CloudwatchLogs",
    "logGroup": "",
    "logStream": "",
    "subscriptionFilters": [],
    "logEvents": [
        {
            "id": "",
            "timestamp": 1510254469274,
            "message": "CWL CONTROL MESSAGE: Checking health of destination Firehose.",
        }
    ],
}
"""What CloudWatch Logs sends first, to see whether the destination is there."""

WRITE_TEST = b"Permission Check Successful"
"""What ``aws-logs-write-test`` holds, which an export puts into the bucket first."""


def write_shape(
    target: Target, shape: str = "text", prefix: str = "", **knobs: Unpack[SampleKnobs]
) -> SampleSummary:
    """Put a sample bucket of a shape into ``target``; ``text`` is what ``write_sample`` writes.

    Args:
        target: where to put it, under ``prefix`` as it stands.
        shape: a key of ``SHAPES``.
        prefix: what comes before each key.
        knobs: those of ``sample_tables``. ``transit-gateway`` has a format of its own.

    Raises:
        UsageError: there is no such shape.
    """
    if shape not in SHAPES:
        raise UsageError(f"--shape is one of {', '.join(SHAPES)}, not {shape!r}.")
    if shape == "transit-gateway":
        knobs["formats"] = (TRANSIT_GATEWAY_FORMAT,)
    return write_sample(target, prefix, SHAPES[shape], **knobs)


def _hive(tables: Tables) -> Delivery:
    for key, body, records in deliver_text(tables):
        yield hive_key(key), body, records


def _parquet(tables: Tables) -> Delivery:
    for key, table in tables:
        name = key.removesuffix(".log.gz") + ".log.parquet"
        yield name, parquet_bytes(table), table.height


def _hive_parquet(tables: Tables) -> Delivery:
    for key, body, records in _parquet(tables):
        yield hive_key(key), body, records


def parquet_bytes(table: pl.DataFrame) -> bytes:
    """Write one table of ``sample_tables`` as AWS writes Parquet.

    Gzip; names with ``_``; 32 and 64 bits as in AWS's table of fields; a missing text is ``-``, a
    missing number null.
    """
    columns: list[pl.Expr] = []
    for name in table.columns:
        field, column = field_for(name), pl.col(name)
        if field.type == "text":
            column = column.fill_null("-")
        elif field.type == "int32":
            column = column.cast(pl.Int32)
        columns.append(column.alias(name.replace("-", "_")))
    body = io.BytesIO()
    pq.write_table(table.select(columns).to_arrow(), body, compression="gzip", store_schema=False)
    return body.getvalue()


def _transit_gateway(tables: Tables) -> Delivery:
    for key, table in tables:
        if tuple(table.columns) == TRANSIT_GATEWAY_FORMAT:
            through = _through_gateway(table, parse_key(key))
            yield key, object_bytes(through), through.height


def _through_gateway(table: pl.DataFrame, name: ObjectName) -> pl.DataFrame:
    """Say by which attachments the records' flows came and went.

    The gateway joins the sample's two VPCs and a third one, which leads out; what stays within one
    is left out. One flow in 64 found no route.
    """
    account, region = str(name.account_id), str(name.region)
    estate, _ = network(account, region, 0)
    sites = pl.concat([estate.unique("vpc-id", keep="first", maintain_order=True), estate[-1:]])
    sites = sites.select(
        pl.lit(account).alias("vpc-account-id"),
        pl.Series("vpc-id", [*sites["vpc-id"][:2], "vpc-0" + stable_name(account, region, "out")]),
        "subnet-id",
        pl.Series("eni", ["eni-0" + stable_name(account, region, "tgw", n) for n in range(3)]),
        "az-id",
    )
    attachments = pl.Series(
        ["tgw-attach-0" + stable_name(account, region, vpc) for vpc in sites["vpc-id"]]
    )
    source, target = (table.select(_site(name)).to_series() for name in ("srcaddr", "dstaddr"))
    entering = pl.col("flow-direction") == "ingress"
    came, went = attachments.gather(source), attachments.gather(target)
    lost = pl.when(pl.col("log-status") == "OK").then(0)
    records = table.with_columns(
        pl.lit("TransitGateway").alias("resource-type"),
        pl.lit("tgw-0" + stable_name(account, region, "tgw")).alias("tgw-id"),
        pl.when(entering).then(came).otherwise(went).alias("tgw-attachment-id"),
        pl.when(entering).then(went).otherwise(came).alias("tgw-pair-attachment-id"),
        *(column.gather(source).alias(f"tgw-src-{column.name}") for column in sites),
        *(column.gather(target).alias(f"tgw-dst-{column.name}") for column in sites),
        pl.when(pl.col("srcport") % 64 == 1)
        .then("packets")
        .otherwise(lost)
        .alias("packets-lost-no-route"),
        *(
            lost.alias(f"packets-lost-{why}")
            for why in ("blackhole", "mtu-exceeded", "ttl-expired")
        ),
    )
    return records.filter((source != target).fill_null(True))


def _site(address: str) -> pl.Expr:
    """Where an address lies: the sample's first VPC, its default VPC, or beyond both."""
    text = pl.col(address)
    ours = text.str.starts_with("2001:db8:") & ~text.str.starts_with("2001:db8:ffff:")
    inside = pl.when(text.str.starts_with("10.0.") | ours).then(0)
    return inside.when(text.str.starts_with("172.31.")).then(1).when(text.is_not_null()).then(2)


def _events(tables: Tables) -> Iterator[tuple[ObjectName, pl.DataFrame]]:
    """The events of a log group: each record's stream, its time in ms, and its text."""
    for key, table in tables:
        if tuple(table.columns) == DEFAULT_FORMAT:
            text = table.write_csv(
                include_header=False, separator=" ", null_value="-", quote_style="never"
            )
            events = table.select(
                stream=pl.col("interface-id") + "-all",
                time=pl.col("start") * 1000,
                message=pl.Series(text.splitlines(), dtype=pl.String),
            )
            yield parse_key(key), events.sort("stream", "time", maintain_order=True)


def _export(tables: Tables) -> Delivery:
    """An export task for each account and region: an object for each log stream."""
    groups: dict[tuple[str | None, str | None], list[pl.DataFrame]] = defaultdict(list)
    for name, events in _events(tables):
        groups[name.account_id, name.region].append(events)
    for (account, region), parts in groups.items():
        prefix = f"exportedlogs/{account}/{region}"
        yield f"{prefix}/aws-logs-write-test", WRITE_TEST, 0
        task = _uuid(account, region)
        for (stream,), events in pl.concat(parts).group_by("stream", maintain_order=True):
            stamp = pl.from_epoch("time", "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ ")
            lines = events.sort("time", maintain_order=True).select(stamp + pl.col("message"))
            body = "".join(f"{line}\n" for line in lines.to_series()).encode()
            yield f"{prefix}/{task}/{stream}/000000.gz", _gzip(body), events.height


def _subscription(tables: Tables) -> Delivery:
    """What Firehose makes of a subscription: one member of gzip for each message it received."""
    sent = [_gzip(_json(CONTROL_MESSAGE))]
    for name, events in _events(tables):
        for (stream,), of_stream in events.group_by("stream", maintain_order=True):
            message = {
                "messageType": "DATA_MESSAGE",
                "owner": name.account_id,
                "logGroup": "/vpc/flow-logs",
                "logStream": stream,
                "subscriptionFilters": ["to-firehose"],
                "logEvents": [
                    {"id": _event_id(stream, time, number), "timestamp": time, "message": text}
                    for number, (time, text) in enumerate(of_stream["time", "message"].rows())
                ],
            }
            sent.append(_gzip(_json(message)))
        yield _firehose_key(name), b"".join(sent), events.height
        sent.clear()


def _messages(tables: Tables) -> Delivery:
    """What Firehose delivers of a flow log: JSON for each record, with nothing between."""
    for name, events in _events(tables):
        body = b"".join(_json({"message": message}) for message in events["message"])
        yield _firehose_key(name) + ".gz", _gzip(body), events.height


SHAPES: dict[str, Callable[[Tables], Delivery]] = {
    "text": deliver_text,
    "hive": _hive,
    "parquet": _parquet,
    "hive-parquet": _hive_parquet,
    "transit-gateway": _transit_gateway,
    "export": _export,
    "subscription": _subscription,
    "messages": _messages,
}
"""What a sample's tables become in each shape."""


def _firehose_key(name: ObjectName) -> str:
    """The key that Firehose gives: hour, stream's name and version, time, something random."""
    slot = name.slot or datetime.min
    return f"{slot:%Y/%m/%d/%H}/stream-1-{slot:%Y-%m-%d-%H-%M-%S}-{_uuid(name.flow_log_id, slot)}"


def _event_id(stream: object, time: int, number: int) -> str:
    return f"3{time}{int(stable_name(stream, time, number), 16):042d}"


def _uuid(*parts: object) -> UUID:
    return UUID(stable_name(*parts) + stable_name("more", *parts))


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _gzip(body: bytes) -> bytes:
    return igzip.compress(body, 1, mtime=0)
