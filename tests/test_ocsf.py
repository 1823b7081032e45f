"""A finding as OCSF has it, against the attributes of version 1.1.0.

There is no validator among the tools, so the schema's own words stand here, from schema.ocsf.io's
detection_finding 1.1.0 and its objects, as far as they are used: a name with ``!`` is required.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flowlake.ocsf import detection_finding
from flowlake.wording import revision, subject
from tests.test_delivering import FINDING

INTEGER, TEXT, TIME = "integer", "text", "time"
OBJECTS: dict[str, dict[str, Any]] = {
    "detection_finding": {
        "activity_id!": {0, 1, 2, 3, 99},
        "activity_name": TEXT,
        "category_uid!": {2},
        "category_name": TEXT,
        "class_uid!": {2004},
        "class_name": TEXT,
        "type_uid!": {200400, 200401, 200402, 200403, 200499},
        "type_name": TEXT,
        "severity_id!": {0, 1, 2, 3, 4, 5, 6, 99},
        "severity": TEXT,
        "status_id": {0, 1, 2, 3, 4, 99},
        "status": TEXT,
        "time!": TIME,
        "start_time": TIME,
        "end_time": TIME,
        "duration": INTEGER,
        "count": INTEGER,
        "message": TEXT,
        "metadata!": "metadata",
        "cloud!": "cloud",  # by the profile "cloud"
        "finding_info!": "finding_info",
        "evidences": ["evidences"],
        "observables": ["observable"],
        "unmapped": "anything",
    },
    "metadata": {
        "version!": TEXT,
        "product!": "product",
        "profiles": [TEXT],
        "uid": TEXT,
        "event_code": TEXT,
    },
    "product": {"name": TEXT, "vendor_name!": TEXT, "version": TEXT},
    "cloud": {"provider!": TEXT, "account": "account", "region": TEXT},
    "account": {"uid": TEXT, "type_id": {10}, "type": TEXT},
    "finding_info": {
        "uid!": TEXT,
        "title!": TEXT,
        "desc": TEXT,
        "types": [TEXT],
        "first_seen_time": TIME,
        "last_seen_time": TIME,
        "analytic": "analytic",
        "data_sources": [TEXT],
    },
    "analytic": {"name": TEXT, "category": TEXT, "type_id!": {0, 1, 2, 3, 4, 99}, "type": TEXT},
    "evidences": {"src_endpoint": "network_endpoint", "dst_endpoint": "network_endpoint"},
    "network_endpoint": {"ip": TEXT, "name": TEXT, "interface_uid": TEXT},
    "observable": {"name!": TEXT, "type_id!": {2, 10, 99}, "type": TEXT, "value": TEXT},
}


def problems(value: Any, wanted: Any, where: str = "") -> list[str]:
    """What of a value is not as the schema wants it."""
    if isinstance(wanted, list):
        return [
            p for n, each in enumerate(value) for p in problems(each, wanted[0], f"{where}[{n}]")
        ]
    if isinstance(wanted, set):
        return [] if value in wanted and isinstance(value, int) else [f"{where} is {value!r}"]
    if wanted == "anything":
        return []
    if wanted in OBJECTS:
        known = {name.removesuffix("!"): each for name, each in OBJECTS[wanted].items()}
        required = {name[:-1] for name in OBJECTS[wanted] if name.endswith("!")}
        found = [f"{where}.{name} is missing" for name in sorted(required - set(value))]
        found += [f"{where}.{name} is unknown" for name in sorted(set(value) - set(known))]
        found += [f"{where} is empty"] if not value else []
        for name in sorted(set(value) & set(known)):
            found += problems(value[name], known[name], f"{where}.{name}")
        return found
    if wanted == TEXT:
        good = isinstance(value, str)
    else:
        good = isinstance(value, int) and (wanted != TIME or 1.7e12 < value < 1.8e12)
    return [] if good else [f"{where} is {value!r}"]


INTERFACE = {**FINDING, "kind": "silent_interface", "who": "eni-1", "whom": None, "regions": []}
NETWORK = {**FINDING, "whom": "10.0.0.0/24", "whom_name": None, "account_ids": ["1" * 12, "2" * 12]}
SIX = {**FINDING, "who": "2001:db8::1", "severity": "critical", "state": "grown"}


@pytest.mark.parametrize(
    "finding",
    [FINDING, INTERFACE, NETWORK, SIX, {**FINDING, "state": "test"}],
    ids=["addresses", "interface", "network", "ipv6", "test"],
)
def test_it_is_as_the_schema_wants_it(finding: dict[str, Any]) -> None:
    event = detection_finding(finding, version="1.2.3")
    assert problems(event, "detection_finding") == []
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    json.dumps(event)


def test_the_check_finds_what_is_wrong() -> None:
    event = detection_finding(FINDING, version="1.2.3")
    del event["finding_info"]["uid"]
    event["severity_id"] = "4"
    event["metadata"]["vendor"] = "me"
    assert problems(event, "detection_finding") == [
        ".finding_info.uid is missing",
        ".metadata.vendor is unknown",
        ".severity_id is '4'",
    ]


def test_it_says_what_the_finding_says() -> None:
    event = detection_finding(FINDING, version="1.2.3")
    assert (event["activity_id"], event["severity_id"], event["status_id"]) == (1, 4, 1)
    moment = datetime(2026, 1, 14, 22, 20, 7, tzinfo=UTC)
    assert event["finding_info"]["first_seen_time"] == round(moment.timestamp()) * 1000
    assert event["start_time"] + event["duration"] == event["end_time"] == event["time"]
    assert event["finding_info"]["uid"] == FINDING["id"]
    assert event["finding_info"]["title"] == subject(FINDING)
    assert event["finding_info"]["types"] == ["port_scan"]
    assert event["metadata"]["uid"] == revision(FINDING)
    assert event["metadata"]["product"]["version"] == "1.2.3"
    assert event["count"] == 1234
    assert event["cloud"] == {
        "provider": "AWS",
        "account": {"uid": "123456789012", "type_id": 10, "type": "AWS Account"},
        "region": "eu-west-1",
    }
    (evidence,) = event["evidences"]
    assert evidence == {
        "src_endpoint": {"ip": "203.0.113.9"},
        "dst_endpoint": {"ip": "10.0.0.4", "name": "web"},
    }
    assert [(each["name"], each["type_id"], each["value"]) for each in event["observables"]] == [
        ("evidences.src_endpoint.ip", 2, "203.0.113.9"),
        ("evidences.dst_endpoint.ip", 2, "10.0.0.4"),
        ("evidences.dst_endpoint.name", 99, "web"),
    ]


def test_nothing_of_the_finding_is_lost() -> None:
    text = json.dumps(detection_finding(FINDING, version="1.2.3"))
    unmapped = detection_finding(FINDING, version="1.2.3")["unmapped"]
    assert unmapped["counts"] == FINDING["counts"]
    assert set(unmapped) == {
        *("account_ids", "regions", "packets", "bytes", "peak", "counts", "condition"),
        *("lake", "evidence"),
    }
    for name in ("alarm", "kind", "who", "whom", "whom_name", "id", "why"):
        assert FINDING[name] in text


def test_more_than_one_account_is_not_one_of_them() -> None:
    event = detection_finding(NETWORK, version="1.2.3")
    assert event["cloud"] == {"provider": "AWS", "region": "eu-west-1"}
    assert event["unmapped"]["account_ids"] == ["1" * 12, "2" * 12]
    assert event["evidences"][0]["dst_endpoint"] == {"name": "10.0.0.0/24"}


def test_an_interface_is_a_resource() -> None:
    event = detection_finding(INTERFACE, version="1.2.3")
    assert event["evidences"] == [{"src_endpoint": {"interface_uid": "eni-1"}}]
    assert event["observables"][0]["type_id"] == 10
