"""What interfaces are called: asked of EC2 (moto plays it), read from files, kept over time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import deltalake
import polars as pl
import pytest
from typer.testing import CliRunner

import flowlake as fl
from flowlake.cli import app
from flowlake.errors import LakeError, StorageError, UsageError
from flowlake.interfaces import (
    INVENTORY,
    inventory,
    keep,
    named,
    read_inventory_file,
    take_inventory,
)
from flowlake.storage import delta_options

DAY = datetime(2026, 1, 14, tzinfo=UTC)
RECORDS = """\
version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 123456789012 eni-1 10.0.0.5 203.0.113.9 50000 443 6 5 840 1768428000 1768428055 ACCEPT OK
2 123456789012 eni-2 10.0.0.6 10.0.0.5 50000 443 6 5 840 1768428000 1768428055 ACCEPT OK
"""  # noqa: E501


def a_lake(place: str, raw: Path) -> str:
    raw.mkdir(exist_ok=True)
    (raw / "flows.log").write_text(RECORDS)
    fl.convert(str(raw), lake=f"{place}/lake")
    return f"{place}/lake"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return a_lake(str(tmp_path), tmp_path / "raw")


@pytest.fixture
def ec2(moto: str) -> Iterator[Any]:
    client = boto3.client("ec2", region_name="eu-west-1")
    yield client
    client.close()


def tagged(kind: str, name: str) -> dict[str, Any]:
    tags = [{"Key": "Name", "Value": name}, {"Key": "team", "Value": "a"}]
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]}


def stage(ec2: Any) -> dict[str, str]:
    """A VPC with a subnet, an instance, and an interface that is attached to nothing."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", **tagged("vpc", "prod"))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", **tagged("subnet", "public"))[
        "Subnet"
    ]["SubnetId"]
    spare = ec2.create_network_interface(
        SubnetId=subnet,
        PrivateIpAddress="10.0.1.9",
        Description="by hand",
        **tagged("network-interface", "spare"),
    )["NetworkInterface"]["NetworkInterfaceId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (instance,) = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, **tagged("instance", "web-1")
    )["Instances"]
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(
        AllocationId=address["AllocationId"], NetworkInterfaceId=spare, AllowReassociation=True
    )
    return {
        "vpc": vpc,
        "subnet": subnet,
        "spare": spare,
        "public": address["PublicIp"],
        "instance": instance["InstanceId"],
        "eni": instance["NetworkInterfaces"][0]["NetworkInterfaceId"],
    }


def row(interface: str, taken_at: datetime, name: str | None, **others: Any) -> dict[str, Any]:
    known = {"interface_id": interface, "taken_at": taken_at, "name": name, "source": "test"}
    return {**dict.fromkeys(INVENTORY), "addresses": [], "tags": [], "gone": False} | known | others


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=INVENTORY)


def test_ec2_is_asked_for_interfaces_and_their_names(ec2: Any, lake: str) -> None:
    made = stage(ec2)
    changes = take_inventory(lake)
    assert set(changes["change"]) == {"new"}
    known = {each["interface_id"]: each for each in inventory(lake).to_dicts()}
    server = known[made["eni"]]
    assert server["name"] == "web-1"
    assert (server["instance_id"], server["subnet_id"], server["vpc_id"]) == (
        *(made["instance"], made["subnet"], made["vpc"]),
    )
    assert (server["subnet_name"], server["vpc_name"]) == ("public", "prod")
    assert (server["account_id"], server["region"]) == ("123456789012", "eu-west-1")
    assert server["az_id"].startswith("euw1-")
    assert {"key": "team", "value": "a"} in server["tags"]
    assert server["source"] == "ec2:123456789012:eu-west-1"
    spare = known[made["spare"]]
    assert (spare["name"], spare["description"]) == ("spare", "by hand")
    assert spare["addresses"] == ["10.0.1.9", made["public"]]


def test_snapshots_say_what_changed_and_keep_what_was(ec2: Any, lake: str) -> None:
    made = stage(ec2)
    take_inventory(lake)
    then = datetime.now(UTC)
    assert take_inventory(lake).is_empty()
    ec2.create_tags(Resources=[made["instance"]], Tags=[{"Key": "Name", "Value": "web-2"}])
    for each in ec2.describe_addresses()["Addresses"]:
        ec2.disassociate_address(AssociationId=each["AssociationId"])
    ec2.delete_network_interface(NetworkInterfaceId=made["spare"])
    changes = {each["interface_id"]: each for each in take_inventory(lake).to_dicts()}
    assert {key: each["change"] for key, each in changes.items()} == {
        made["eni"]: "renamed",
        made["spare"]: "gone",
    }
    assert changes[made["eni"]]["name_before"] == "web-1"
    before = inventory(lake, then).filter(interface_id=made["eni"])
    assert before["name"].to_list() == ["web-1"]
    now = {each["interface_id"]: each for each in inventory(lake).to_dicts()}
    assert now[made["eni"]]["name"] == "web-2"
    assert now[made["spare"]]["gone"] and now[made["spare"]]["name"] == "spare"


def test_regions_are_asked_one_by_one_and_do_not_make_each_other_gone(
    ec2: Any, lake: str, moto: str
) -> None:
    made = stage(ec2)
    elsewhere = boto3.client("ec2", region_name="us-east-1")
    there = stage(elsewhere)
    elsewhere.close()
    changes = take_inventory(lake, regions=["us-east-1", "eu-west-1"])
    assert {made["eni"], there["eni"]} <= set(changes["interface_id"])
    assert take_inventory(lake, regions=["eu-west-1"]).is_empty()
    assert take_inventory(lake, regions=["sa-east-1"]).is_empty()


def test_a_region_without_interfaces_any_more_has_none(ec2: Any, lake: str) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    only = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    take_inventory(lake)
    ec2.delete_network_interface(NetworkInterfaceId=only)
    assert take_inventory(lake)["change"].to_list() == ["gone"]
    assert inventory(lake)["gone"].all()


def test_without_a_lake_a_region_or_a_server_it_says_so(
    moto: str, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LakeError, match="There is no lake"):
        take_inventory(str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match=r"eu-west-1 cannot be listed: .* cannot be reached"):
        take_inventory(lake)
    assert inventory(lake).is_empty()


def test_at_a_time_it_is_the_newest_row_before_else_the_first(lake: str) -> None:
    hours = [DAY + timedelta(hours=n) for n in range(3)]
    keep(lake, frame(row("eni-1", hours[0], "a")))
    keep(lake, frame(row("eni-1", hours[1], "b"), row("eni-2", hours[1], "x")))
    keep(lake, frame(row("eni-1", hours[2], "b")))

    def names(at: datetime | None) -> dict[str, str]:
        return dict(inventory(lake, at).select("interface_id", "name").iter_rows())

    assert names(hours[0] - timedelta(days=1)) == {"eni-1": "a", "eni-2": "x"}
    assert names(hours[0]) == {"eni-1": "a", "eni-2": "x"}
    assert names(hours[1]) == {"eni-1": "b", "eni-2": "x"}
    gone = inventory(lake).filter("gone")
    assert gone["interface_id"].to_list() == ["eni-2"]
    assert gone["taken_at"].to_list() == [hours[2]]
    rows = deltalake.DeltaTable(f"{lake}/inventory").to_pyarrow_table().num_rows
    assert rows == 4  # a, b and x, and x gone: no row for what was the same


def test_a_snapshot_of_another_source_makes_nothing_gone(lake: str) -> None:
    keep(lake, frame(row("eni-1", DAY, "a")))
    later = DAY + timedelta(days=1)
    assert keep(lake, frame(row("eni-2", later, "b", source="other")))["change"].to_list() == [
        "new"
    ]
    assert not inventory(lake)["gone"].any()


def test_the_table_is_one_that_others_can_read(lake: str) -> None:
    keep(lake, frame(row("eni-1", DAY, "a", addresses=["10.0.0.5"])))
    protocol = deltalake.DeltaTable(f"{lake}/inventory").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert fl.vacuum(lake, dry_run=True).is_empty()


def test_a_lake_in_s3_keeps_it_too(s3: str, tmp_path: Path) -> None:
    lake = a_lake(s3, tmp_path / "raw")
    assert inventory(lake).is_empty()
    keep(lake, frame(row("eni-1", DAY, "web-1", addresses=["10.0.0.5"])))
    assert fl.open_lake(lake).inventory()["name"].to_list() == ["web-1"]
    table = deltalake.DeltaTable(
        f"{lake}/inventory", storage_options=delta_options(lake, fl.Access())
    )
    assert table.version() == 0


CSV = (
    "interface_id,addresses,name,tags\neni-1,10.0.0.5 2001:db8::5,,Name=web;team=a=b\neni-2,,db,\n"
)
PRINTED = {
    "NetworkInterfaces": [
        {
            "NetworkInterfaceId": "eni-1",
            "OwnerId": "123456789012",
            "AvailabilityZone": "us-west-2-lax-1a",
            "PrivateIpAddress": "10.0.0.5",
            "Association": {"PublicIp": "203.0.113.1"},
            "Attachment": {"InstanceId": "i-1"},
            "TagSet": [{"Key": "Name", "Value": "web"}],
        }
    ]
}


def test_a_file_may_be_csv_json_or_what_the_aws_cli_prints(tmp_path: Path, lake: str) -> None:
    file = tmp_path / "interfaces"
    file.write_text(CSV)
    (web, db) = read_inventory_file(file).to_dicts()
    assert web["addresses"] == ["10.0.0.5", "2001:db8::5"]
    assert (web["name"], db["name"]) == ("web", "db")
    assert web["tags"][1] == {"key": "team", "value": "a=b"}
    assert web["source"] == f"file:{file}"
    file.write_text(json.dumps([{"interface_id": "eni-1", "taken_at": "2026-01-14T00:00:00Z"}]))
    assert read_inventory_file(file)["taken_at"].to_list() == [DAY]
    file.write_text(json.dumps(PRINTED))
    (printed,) = read_inventory_file(file).to_dicts()
    assert (printed["name"], printed["region"], printed["instance_id"]) == (
        "web",
        "us-west-2",
        "i-1",
    )
    assert printed["addresses"] == ["10.0.0.5", "203.0.113.1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no column interface_id"),
        ("name\nweb\n", "names no column interface_id"),
        ("interface_id\nweb\n", "row 1 has the interface_id 'web'"),
        ("interface_id,colour\neni-1,red\n", "a column 'colour'"),
        ("interface_id,addresses\neni-1,10.0.0\n", "'10.0.0' does not appear"),
        ("interface_id,tags\neni-1,web\n", "the tag 'web' is not KEY=VALUE"),
        ("interface_id,taken_at\neni-1,noon\n", "'noon'"),
        ('{"Vpcs": []}', "no NetworkInterfaces"),
        ('[{"interface_id": ', "Expecting value"),
        ("[3]", "not iterable"),
    ],
)
def test_what_is_no_inventory_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(UsageError, match=r"file is no inventory") as refusal:
        read_inventory_file(tmp_path / "file")
    assert words in str(refusal.value)


def test_names_stand_beside_ids_and_addresses_of_one_interface() -> None:
    known = frame(
        row("eni-1", DAY, "web", addresses=["10.0.0.5"], instance_id="i-1", subnet_id="subnet-1"),
        row("eni-2", DAY, None, addresses=["10.0.0.6"], description="NAT gateway"),
        row("eni-3", DAY, "twin", addresses=["10.0.0.7"]),
        row("eni-4", DAY, "twin", addresses=["10.0.0.7"]),
        row("eni-5", DAY, "old", addresses=["10.0.0.5", "10.0.0.8"], gone=True),
    )
    found = pl.DataFrame(
        {
            "interface_id": ["eni-1", "eni-2", "eni-9"],
            "instance_id": ["i-1", None, None],
            "srcaddr": ["10.0.0.5", "10.0.0.7", "192.0.2.1"],
            "peer": ["10.0.0.6", "10.0.0.8", None],
        }
    )
    shown = named(found, known)
    assert shown.columns == [
        *("interface_id", "interface_name", "instance_id", "instance_name"),
        *("srcaddr", "srcaddr_name", "peer", "peer_name"),
    ]
    assert shown["interface_name"].to_list() == ["web", "NAT gateway", None]
    assert shown["instance_name"].to_list() == ["web", None, None]
    assert shown["srcaddr_name"].to_list() == ["web", None, None]
    assert shown["peer_name"].to_list() == ["NAT gateway", "old", None]
    assert named(found.head(0), known).columns == shown.columns


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_line_takes_shows_and_names(lake: str, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no inventory, so no names: run `flowlake inventory`"):
        run("hunt", "10.0.0.5", "--names", "--lake", lake)
    file = tmp_path / "interfaces.csv"
    file.write_text(CSV)
    assert "2 interfaces known: 2 new." in run("inventory", str(file), "--lake", lake)
    assert "2 interfaces known: nothing new." in run("inventory", str(file), "--lake", lake)
    file.write_text(CSV.replace(",db,", ",db-2,"))
    renamed = run("inventory", str(file), "--lake", lake)
    assert "db-2" in renamed and "2 interfaces known: 1 renamed." in renamed
    shown = json.loads(run("inventory", "--show", "--lake", lake, "--format", "json"))
    assert [each["name"] for each in shown] == ["web", "db-2"]
    hunted = run("hunt", "203.0.113.9", "--names", "--lake", lake, "--format", "csv")
    assert ",srcaddr_name," in hunted and ",web," in hunted
    asked = run("query", "top_interfaces", "--names", "--lake", lake, "--format", "csv")
    assert "interface_id,interface_name," in asked and "eni-2,db-2," in asked
    statement = "SELECT name FROM inventory WHERE list_contains(addresses, '10.0.0.5')"
    assert run("sql", statement, "--lake", lake, "--format", "csv").split() == ["name", "web"]
    before = ("--until", "2026-02-01")
    sources = "SELECT DISTINCT srcaddr FROM flows ORDER BY srcaddr LIMIT 1"
    assert "web" in run("sql", sources, "--names", *before, "--lake", lake)


@pytest.mark.parametrize(
    "wrong", [("--show", "FILE"), ("--at", "1d"), ("FILE", "--region", "eu-west-1")]
)
def test_options_that_do_not_go_together_are_refused(
    wrong: tuple[str, ...], lake: str, tmp_path: Path
) -> None:
    file = tmp_path / "interfaces.csv"
    file.write_text(CSV)
    given = [str(file) if each == "FILE" else each for each in wrong]
    with pytest.raises(UsageError):
        run("inventory", *given, "--lake", lake)


def test_sql_sees_an_empty_table_before_the_first(lake: str) -> None:
    assert fl.open_lake(lake).sql("SELECT * FROM inventory").pl().schema == INVENTORY
