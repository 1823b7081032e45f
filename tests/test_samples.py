"""What a sample bucket promises: the same bytes again, AWS's layout, and every kind of record."""

import gzip
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flowlake.errors import UsageError
from flowlake.fields import DEFAULT_FORMAT, field_for
from flowlake.layout import parse_key
from flowlake.samples import (
    ACCOUNTS,
    ALPHABETICAL_FORMAT,
    EVERY_FIELD_FORMAT,
    REFUSED_PING_KEY,
    REFUSED_PING_RECORDS,
    REGIONS,
    SampleSummary,
    object_bytes,
    sample_objects,
    sample_tables,
    write_sample,
)


class Folder:
    """A target that writes each object to its file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, body: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    return dict(sample_objects())


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return dict(sample_tables())


@pytest.fixture(scope="module")
def version_5(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(t for t in tables.values() if tuple(t.columns) == ALPHABETICAL_FORMAT)


def lines_of(body: bytes) -> list[str]:
    text = gzip.decompress(body).decode("ascii")
    assert text.endswith("\n")
    return text.splitlines()


def test_the_same_seed_gives_the_same_bytes(objects: dict[str, bytes]) -> None:
    assert dict(sample_objects()) == objects
    assert all(body[4:8] == bytes(4) for body in objects.values())  # gzip's own time stamp


def test_another_seed_gives_other_traffic_between_the_same_interfaces() -> None:
    one, other = ([table for _, table in sample_tables(seed=seed, hours=1)][1:] for seed in (1, 2))
    assert all(not a.equals(b) for a, b in zip(one, other, strict=True))
    assert set(pl.concat(one[::4])["interface-id"]) == set(pl.concat(other[::4])["interface-id"])


def test_keys_are_those_of_aws(objects: dict[str, bytes]) -> None:
    names = [parse_key(key) for key in objects]
    assert {name.account_id for name in names} == set(ACCOUNTS)
    assert {name.region for name in names} == set(REGIONS)
    assert all(name.flow_log_id and name.slot and name.slot.minute % 5 == 0 for name in names)
    assert len({name.flow_log_id for name in names}) == 5


def test_a_flow_log_keeps_one_header_and_lines_fit_it(objects: dict[str, bytes]) -> None:
    headers = defaultdict(set)
    for key, body in objects.items():
        header, *records = lines_of(body)
        headers[parse_key(key).flow_log_id].add(header)
        assert {line.count(" ") for line in records} == {header.count(" ")}
        assert all(line and "  " not in line and '"' not in line for line in records)
    assert all(len(several) == 1 for several in headers.values())
    formats = {tuple(header.split(" ")) for several in headers.values() for header in several}
    assert formats == {DEFAULT_FORMAT, ALPHABETICAL_FORMAT, EVERY_FIELD_FORMAT}
    assert len(ALPHABETICAL_FORMAT) == 29


def test_text_says_what_the_tables_say(
    objects: dict[str, bytes], tables: dict[str, pl.DataFrame]
) -> None:
    assert list(objects) == list(tables)
    for key, table in tables.items():
        header, *records = lines_of(objects[key])
        assert header.split(" ") == table.columns
        said = [["-" if value is None else str(value) for value in row] for row in table.rows()]
        assert [line.split(" ") for line in records] == said


def test_tables_are_typed_as_the_catalogue_says(tables: dict[str, pl.DataFrame]) -> None:
    for table in tables.values():
        for name, kind in table.schema.items():
            assert kind == (pl.String if field_for(name).type == "text" else pl.Int64), name


def test_the_refused_ping_is_there_verbatim(objects: dict[str, bytes]) -> None:
    assert lines_of(objects[REFUSED_PING_KEY]) == [" ".join(DEFAULT_FORMAT), *REFUSED_PING_RECORDS]
    slot = parse_key(REFUSED_PING_KEY).slot
    assert slot is not None
    for line in REFUSED_PING_RECORDS:
        end = datetime.fromtimestamp(int(line.split(" ")[11]), UTC)
        assert slot <= end < slot + timedelta(minutes=5)


def test_records_end_in_their_slot_and_start_before(tables: dict[str, pl.DataFrame]) -> None:
    for key, table in tables.items():
        slot = parse_key(key).slot
        assert slot is not None
        assert table["end"].is_between(slot.timestamp(), slot.timestamp() + 299).all()
        assert (table["end"] - table["start"]).is_between(1, 600).all()


def test_objects_of_midnight_hold_two_dates(tables: dict[str, pl.DataFrame]) -> None:
    midnight = [
        table
        for key, table in tables.items()
        if parse_key(key).slot == datetime(2026, 1, 15, tzinfo=UTC)
    ]
    assert len(midnight) == len(ACCOUNTS) * len(REGIONS)
    for table in midnight:
        assert (table["start"] // 86_400).n_unique() == 2


def test_account_ids_keep_their_zeros(tables: dict[str, pl.DataFrame]) -> None:
    for key, table in tables.items():
        assert table["account-id"].unique().to_list() == [parse_key(key).account_id]


def test_every_kind_of_record_is_there(tables: dict[str, pl.DataFrame]) -> None:
    columns = ["version", "protocol", "action", "log-status", "srcaddr", "dstport"]
    bucket = pl.concat(table.select(columns) for table in tables.values())
    assert set(bucket["version"]) == {2, 5, 11}
    assert set(bucket["protocol"]) == {1, 6, 17, 47, 50, 58, None}
    assert set(bucket["action"]) == {"ACCEPT", "REJECT", None}
    assert set(bucket["log-status"]) == {"OK", "NODATA", "SKIPDATA"}
    assert set(bucket["dstport"]) >= {0, 22, 53, 80, 123, 443, 5432}
    assert {ip_address(each).version for each in bucket["srcaddr"].drop_nulls()} == {4, 6}


def test_addresses_are_spelt_as_they_should_be(tables: dict[str, pl.DataFrame]) -> None:
    for table in tables.values():
        for address in {*table["srcaddr"], *table["dstaddr"]} - {None}:
            assert str(ip_address(address)) == address


def test_records_without_traffic_say_nothing_of_packets(version_5: pl.DataFrame) -> None:
    silent = version_5.filter(pl.col("log-status") != "OK")
    said = {column.name for column in silent if column.null_count() < silent.height}
    assert said == {
        *("version", "account-id", "interface-id", "start", "end", "log-status"),
        *("vpc-id", "subnet-id", "instance-id", "region", "az-id"),
    }
    assert version_5.filter(pl.col("log-status") == "OK")["bytes"].null_count() == 0


def test_what_was_refused_was_never_answered(version_5: pl.DataFrame) -> None:
    refused = version_5.filter(pl.col("action") == "REJECT")
    assert set(refused["flow-direction"]) == {"ingress"}
    assert set(refused.filter(pl.col("protocol") == 6)["tcp-flags"]) == {2}
    assert set(refused.filter(pl.col("protocol") == 17)["tcp-flags"]) == {0}


def test_accepted_traffic_has_both_directions(version_5: pl.DataFrame) -> None:
    accepted = version_5.filter(pl.col("action") == "ACCEPT")
    there = ["srcaddr", "srcport", "dstaddr", "dstport"]
    back = ["dstaddr", "dstport", "srcaddr", "srcport"]
    answered = accepted.join(accepted, left_on=there, right_on=back, how="semi")
    assert answered.height > 0.99 * accepted.height  # the last connection may be cut


def test_traffic_path_is_said_of_what_leaves(version_5: pl.DataFrame) -> None:
    ok = version_5.filter(pl.col("log-status") == "OK")
    assert (ok["traffic-path"].is_not_null() == (ok["flow-direction"] == "egress")).all()
    assert set(ok["traffic-path"]) == {1, 7, 8, None}


def test_aws_services_are_named_at_the_packet(version_5: pl.DataFrame) -> None:
    assert set(version_5["pkt-dst-aws-service"]) == {"S3", "DYNAMODB", None}
    assert set(version_5["pkt-src-aws-service"]) == {"S3", "DYNAMODB", None}


def test_the_next_hop_is_the_interface_at_the_other_end(tables: dict[str, pl.DataFrame]) -> None:
    every = pl.concat(t for t in tables.values() if tuple(t.columns) == EVERY_FIELD_FORMAT)
    assert len(EVERY_FIELD_FORMAT) == 54
    of_gateway = every.filter(pl.col("interface-type") == "nat_gateway")
    to_gateway = every.filter(
        pl.col("next-hop-interface-type") == "nat_gateway", pl.col("flow-direction") == "egress"
    )
    assert to_gateway.height > 20
    assert set(to_gateway["traffic-path"]) == {1}
    assert set(to_gateway["next-hop-interface-id"]) == set(of_gateway["interface-id"])
    # What instances send to the gateway is what it sends on to the internet.
    onward = of_gateway.filter(pl.col("traffic-path") == 8)
    missing = abs(int(onward["bytes"].sum()) - int(to_gateway["bytes"].sum()))
    assert missing <= 0.1 * int(
        to_gateway["bytes"].sum()
    )  # objects end in the midst of connections
    assert set(onward["next-hop-interface-id"]) == {None}
    home = every.select("interface-id", "az-id", "vpc-id").unique()
    joined = every.join(home, left_on="next-hop-interface-id", right_on="interface-id", suffix="-r")
    assert joined.height > 500
    for field in ("az-id", "vpc-id"):
        assert joined[f"next-hop-{field}"].equals(joined[f"{field}-r"], check_names=False)
    assert (joined["az-id"] != joined["next-hop-az-id"]).sum() > 100


def test_the_nat_gateway_hides_instances_from_the_internet(version_5: pl.DataFrame) -> None:
    nat = version_5.filter(
        (pl.col("srcaddr") != pl.col("pkt-srcaddr")) | (pl.col("dstaddr") != pl.col("pkt-dstaddr"))
    )
    assert nat.height > 100
    assert set(nat["instance-id"]) == {None}
    gateways = version_5.filter(pl.col("interface-id").is_in(nat["interface-id"].implode()))
    outside = gateways.filter(pl.col("dstport") == 443, pl.col("traffic-path") == 8)
    assert outside.height > 10
    assert outside["srcaddr"].str.starts_with("10.0.").all()
    assert (outside["srcaddr"] == outside["pkt-srcaddr"]).all()


def test_write_sample_counts_what_it_put(tmp_path: Path, objects: dict[str, bytes]) -> None:
    summary = write_sample(Folder(tmp_path))
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*.log.gz")
    }
    assert files == objects
    records = sum(len(lines_of(body)) - 1 for body in objects.values())
    assert summary == SampleSummary(len(objects), records, sum(map(len, objects.values())))
    assert summary.objects == 49
    assert summary.records == 48 * 500 + 2


def test_a_prefix_comes_before_every_key(tmp_path: Path) -> None:
    write_sample(Folder(tmp_path), prefix="raw/logs/", hours=1, every=12, records_per_object=1)
    assert (tmp_path / "raw/logs" / REFUSED_PING_KEY).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_knobs_turn() -> None:
    header = ("end", "version", "interface-type", "tomorrow", "vpc-id", "encryption-status")
    _, (key, table) = sample_tables(
        start=datetime(2026, 3, 1, 1, 7, 30, tzinfo=timezone(timedelta(hours=1))),
        hours=1,
        every=12,
        records_per_object=9,
        accounts=["000000000001"],
        regions=["ap-southeast-2"],
        formats=[header],
    )
    name = parse_key(key)
    assert (name.account_id, name.region) == ("000000000001", "ap-southeast-2")
    assert name.slot == datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
    assert table.shape == (9, len(header))
    assert tuple(table.columns) == header
    assert set(table["version"]) == {11}
    unknown = table.select("interface-type", "tomorrow", "encryption-status")
    assert_frame_equal(unknown, unknown.clear(9))


def test_availability_zones_have_their_regions_name() -> None:
    regions = {"us-east-1": "use1", "ap-southeast-2": "apse2", "us-gov-west-1": "usgw1"}
    tables = sample_tables(hours=1, every=12, regions=list(regions), formats=[("region", "az-id")])
    rows = pl.concat(table for _, table in tables if table.width == 2)
    said = {(region, zone.partition("-")[0]) for region, zone in rows.rows()}
    assert said == set(regions.items())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5000])
def test_objects_have_as_many_records_as_asked(count: int) -> None:
    tables = [table for _, table in sample_tables(records_per_object=count, hours=1, every=12)]
    assert [table.height for table in tables] == [2, *[count] * 4]
    assert len(lines_of(object_bytes(tables[1]))) == count + 1


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(UsageError, match="time zone"):
        next(sample_tables(start=datetime(2026, 1, 1)))
    with pytest.raises(UsageError, match="format"):
        next(sample_tables(formats=[]))
    with pytest.raises(UsageError, match="every"):
        next(sample_tables(every=0))
