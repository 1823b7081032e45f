"""What was approved against what is: no drift from oneself, and each change found and named."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlake.errors import StorageError, UsageError
from flowlake.setup.baseline import DRIFT, KEPT, Baseline, drift, read_baseline, save_baseline
from flowlake.setup.flow_logs import FLOW_LOGS
from tests.setups import ACCOUNT, REGION, flow_log, flow_logs

HERE = [(ACCOUNT, REGION)]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "traffic_type": st.sampled_from(["ALL", "ACCEPT", "REJECT"]),
    "destination_type": st.sampled_from(["s3", "cloud-watch-logs", "kinesis-data-firehose"]),
    "destination": st.none() | st.sampled_from(["arn:aws:s3:::a", "arn:aws:s3:::b/c"]),
    "log_group": st.none() | TEXT,
    "role_arn": st.none() | TEXT,
    "format": st.sampled_from(["${version}", "${version} ${srcaddr}"]),
    "file_format": st.sampled_from([None, "plain-text", "parquet"]),
    "hive": st.sampled_from([None, True, False]),
    "per_hour": st.sampled_from([None, True, False]),
    "max_aggregation_interval": st.sampled_from([60, 600]),
    "tags": st.dictionaries(TEXT, TEXT, max_size=2).map(
        lambda tags: [{"key": key, "value": value} for key, value in sorted(tags.items())]
    ),
}
"""Everything of a flow log that a baseline keeps, but what it records."""


@st.composite
def setups(draw: Callable[..., Any], least: int = 0) -> list[dict[str, Any]]:
    """Flow logs of an account, several of them perhaps of the same resource."""
    numbers = draw(st.lists(st.integers(1, 50), unique=True, min_size=least, max_size=6))
    return [
        flow_log(n, draw(st.sampled_from(["vpc-1", "vpc-2", "eni-3"])))
        | {name: draw(values) for name, values in VALUES.items()}
        for n in numbers
    ]


def saved(rows: list[dict[str, Any]]) -> Baseline:
    """What comes back from a file, which hypothesis wants anew for each example."""
    with tempfile.TemporaryDirectory() as folder:
        save_baseline(f"{folder}/baseline.json", flow_logs(*rows), HERE)
        return read_baseline(f"{folder}/baseline.json")


@given(setups())
def test_a_setup_has_not_drifted_from_itself(rows: list[dict[str, Any]]) -> None:
    assert drift(saved(rows), flow_logs(*rows), HERE).equals(pl.DataFrame(schema=DRIFT))
    assert drift(saved(rows), flow_logs(*reversed(rows)), HERE).is_empty()


@given(setups(), st.data())
def test_one_that_was_added_is_found(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    new = flow_log(99, data.draw(st.sampled_from(["vpc-1", "subnet-9"])))
    (found,) = drift(saved(rows), flow_logs(*rows, new), HERE).to_dicts()
    assert (found["change"], found["flow_log_id"]) == ("added", new["flow_log_id"])
    assert (found["flow_log_id_before"], found["differences"]) == (None, [])


@given(setups(least=1), st.data())
def test_one_that_was_deleted_is_found(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(rows))
    left = [row for row in rows if row is not gone]
    (found,) = drift(saved(rows), flow_logs(*left), HERE).to_dicts()
    assert (found["change"], found["flow_log_id_before"]) == ("deleted", gone["flow_log_id"])
    assert (found["flow_log_id"], found["resource_id"]) == (None, gone["resource_id"])


@given(setups(least=1), st.data(), st.booleans())
def test_one_that_was_changed_is_found_and_what_is_named(
    rows: list[dict[str, Any]], data: st.DataObject, again: bool
) -> None:
    """AWS takes a new flow log for it; a tag is changed on the old one."""
    old = data.draw(st.sampled_from(rows))
    what = data.draw(st.sampled_from(sorted(VALUES)))
    value = data.draw(VALUES[what].filter(lambda value: value != old[what]))
    new = old | {what: value} | ({"flow_log_id": "fl-00000099"} if again else {})
    now = [new if row is old else row for row in rows]
    (found,) = drift(saved(rows), flow_logs(*now), HERE).to_dicts()
    assert found["change"] == ("made again" if again else "changed")
    assert (found["flow_log_id"], found["flow_log_id_before"]) == (
        *(new["flow_log_id"], old["flow_log_id"]),
    )
    assert [each["what"] for each in found["differences"]] == [what]


def test_one_that_was_made_again_as_it_was_is_still_a_change() -> None:
    (found,) = drift(saved([flow_log(1)]), flow_logs(flow_log(2)), HERE).to_dicts()
    assert (found["change"], found["differences"]) == ("made again", [])


def test_of_several_new_ones_the_most_alike_takes_the_place() -> None:
    now = flow_logs(flow_log(2, traffic_type="REJECT", hive=True), flow_log(3, hive=True))
    again, added = drift(saved([flow_log(1)]), now, HERE).sort("change").reverse().to_dicts()
    assert (again["change"], again["flow_log_id"]) == ("made again", "fl-00000003")
    assert again["differences"] == [{"what": "hive", "before": "false", "now": "true"}]
    assert (added["change"], added["flow_log_id"]) == ("added", "fl-00000002")


def test_all_that_a_flow_log_is_configured_by_is_kept() -> None:
    """What is left out says how it is, not how it was made; or is another way to say the same."""
    left = {"name", "status", "deliver_status", "deliver_error", "fields", "created_at"}
    assert {*KEPT, "account_id", "region", "flow_log_id"} == {*FLOW_LOGS} - left
    assert {*VALUES} == {*KEPT} - {"resource_id"}


def test_the_file_lies_well_in_git(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    rows = [flow_log(2), flow_log(1, "vpc-0", tags=[{"key": "Name", "value": "größe"}])]
    save_baseline(file, flow_logs(*rows), HERE)
    first = file.read_text(encoding="utf-8")
    save_baseline(file, flow_logs(*reversed(rows)), HERE)
    assert file.read_text(encoding="utf-8") == first
    assert first.endswith("}\n") and '"Name": "größe"' in first
    document = json.loads(first)
    assert [each["resource_id"] for each in document["flow_logs"]] == ["vpc-0", "vpc-1"]
    assert "role_arn" not in document["flow_logs"][0]


def test_a_region_is_replaced_and_the_others_stay(place: str) -> None:
    file = f"{place}/baseline.json"
    there = (ACCOUNT, "us-east-1")
    save_baseline(file, flow_logs(flow_log(1)), HERE)
    save_baseline(file, flow_logs(flow_log(2, region="us-east-1")), [there])
    both = read_baseline(file)
    assert both.regions == ((ACCOUNT, REGION), there)
    assert drift(both, flow_logs(flow_log(1)), HERE).is_empty()
    save_baseline(file, flow_logs(), HERE)
    assert drift(read_baseline(file), flow_logs(), HERE).is_empty()
    assert read_baseline(file).flow_logs["flow_log_id"].to_list() == ["fl-00000002"]


def test_of_what_a_baseline_does_not_speak_it_says_so() -> None:
    with pytest.raises(UsageError, match="does not speak of us-east-1 in account 123456789012"):
        drift(saved([flow_log(1)]), flow_logs(), [*HERE, (ACCOUNT, "us-east-1")])


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", '{"title": "mine", "regions": [], "flow_logs": []}'),
        '{"title": TITLE, "regions": [], "flow_logs": [{"flow_log_id": "fl-1"}]}',
        '{"title": TITLE, "regions": [], "flow_logs": [{"colour": "red", "tags": {}}]}',
        '{"title": TITLE, "regions": ["eu-west-1"], "flow_logs": []}',
        '{"title": TITLE, "regions": [], "flow_logs": [{"account_id": "1", "region": "x",'
        ' "flow_log_id": "fl-1", "hive": "perhaps", "tags": {}}]}',
        "<<<<<<< ours\n",
    ],
)
def test_what_is_no_baseline_is_refused_and_not_written_over(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    save_baseline(file, flow_logs(), HERE)
    title = json.dumps(json.loads(file.read_text())["title"])
    text = text.replace("TITLE", title)
    file.write_text(text)
    with pytest.raises(UsageError, match="is no baseline"):
        read_baseline(file)
    with pytest.raises(UsageError, match="is no baseline"):
        save_baseline(file, flow_logs(), HERE)
    assert file.read_text() == text


def test_a_baseline_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot read"):
        read_baseline(tmp_path / "none.json")
