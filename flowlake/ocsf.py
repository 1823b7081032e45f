"""A finding as an event of the Open Cybersecurity Schema Framework: Detection Finding, class 2004.

The class, its attributes and its numbers are those of OCSF 1.1.0 (schema.ocsf.io), the first
version that has it; later versions only add to them. Amazon Security Lake reads this version.
"""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from flowlake.wording import Finding, revision, subject

SCHEMA = "1.1.0"
CATEGORY = 2
CLASS = 2004

SEVERITIES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {"low": (2, "Low"), "medium": (3, "Medium"), "high": (4, "High"), "critical": (5, "Critical")}
)
ACTIVITIES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        **dict.fromkeys(("new", "open"), (1, "Create")),
        **dict.fromkeys(("grown", "acknowledged", "merged"), (2, "Update")),
        "test": (99, "Test"),
    }
)
"""What OCSF calls the state of a finding; a test is none of its activities, so Other."""

STATUSES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {"acknowledged": (2, "In Progress"), "merged": (3, "Suppressed")}
)
"""The status of a finding in a state that is not New."""

_MAPPED = frozenset(
    {"alarm", "kind", "severity", "state", "who", "whom", "who_name", "whom_name", "why"}
    | {"id", "first_seen", "last_seen", "flows"}
)


def detection_finding(finding: Finding, *, version: str) -> dict[str, Any]:
    """The finding as a Detection Finding, ready for JSON; times are milliseconds, UTC.

    What OCSF has no attribute for is in ``unmapped``, under the finding's own names.

    Args:
        finding: as ``wording`` describes it.
        version: FlowLake's version.
    """
    severity_id, severity = SEVERITIES[finding["severity"]]
    status_id, status = STATUSES.get(finding["state"], (1, "New"))
    activity_id, activity = ACTIVITIES[finding["state"]]
    first, last = _milliseconds(finding["first_seen"]), _milliseconds(finding["last_seen"])
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": f"Detection Finding: {activity if activity_id != 99 else 'Other'}",
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "time": last,
        "start_time": first,
        "end_time": last,
        "duration": last - first,
        "count": finding["flows"],
        "message": finding["why"],
        "metadata": {
            "version": SCHEMA,
            "product": {"name": "FlowLake", "vendor_name": "FlowLake", "version": version},
            "profiles": ["cloud"],
            "uid": revision(finding),
            "event_code": finding["kind"],
        },
        "cloud": _cloud(finding),
        "finding_info": {
            "uid": finding["id"],
            "title": subject(finding),
            "desc": finding["why"],
            "types": [finding["kind"]],
            "first_seen_time": first,
            "last_seen_time": last,
            "analytic": {
                "name": finding["alarm"],
                "category": finding["kind"],
                "type_id": 1,
                "type": "Rule",
            },
            "data_sources": ["VPC Flow Logs"],
        },
        "evidences": [
            {
                f"{end}_endpoint": _endpoint(finding, role)
                for end, role in (("src", "who"), ("dst", "whom"))
                if finding[role]
            }
        ],
        "observables": [
            observable
            for end, role in (("src", "who"), ("dst", "whom"))
            if finding[role]
            for observable in _observables(f"evidences.{end}_endpoint", finding, role)
        ],
        "unmapped": {name: value for name, value in finding.items() if name not in _MAPPED},
    }


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _cloud(finding: Finding) -> dict[str, Any]:
    """Account and region, where there is one; OCSF has room for one, all are in ``unmapped``."""
    cloud: dict[str, Any] = {"provider": "AWS"}
    if len(finding["account_ids"]) == 1:
        cloud["account"] = {"uid": finding["account_ids"][0], "type_id": 10, "type": "AWS Account"}
    if len(finding["regions"]) == 1:
        cloud["region"] = finding["regions"][0]
    return cloud


def _attribute(subject: str) -> str:
    """Where an endpoint has it: an address, an interface, or else, such as a network, a name."""
    try:
        ipaddress.ip_address(subject)
    except ValueError:
        return "interface_uid" if subject.startswith("eni-") else "name"
    return "ip"


def _endpoint(finding: Finding, role: str) -> dict[str, str]:
    endpoint = {_attribute(finding[role]): finding[role]}
    if name := finding[f"{role}_name"]:
        endpoint.setdefault("name", name)
    return endpoint


_TYPES = {"ip": (2, "IP Address"), "interface_uid": (10, "Resource UID"), "name": (99, "Name")}


def _observables(path: str, finding: Finding, role: str) -> list[dict[str, Any]]:
    return [
        {"name": f"{path}.{name}", "type_id": number, "type": caption, "value": value}
        for name, value in _endpoint(finding, role).items()
        for number, caption in [_TYPES[name]]
    ]
