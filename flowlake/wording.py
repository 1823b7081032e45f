"""A finding in words: a subject, a text for a person, JSON for a program, blocks for Slack.

A finding is a mapping: ``id`` (16 hex digits, the same as it grows), ``alarm``, ``kind``,
``severity``, ``state`` (``new``, ``grown``, ``test``, or as the lake has it), ``account_ids``,
``regions``, ``who``, ``whom``, ``who_name``, ``whom_name``, ``first_seen``, ``last_seen`` (UTC),
``flows``, ``packets``, ``bytes``, ``peak``, ``counts``, ``why``, ``condition``, ``lake`` and
``evidence``, a command.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Finding = Mapping[str, Any]

SUBJECT = 99
"""SNS: ASCII, no line break, "less than 100 characters long" (Publish, in its API reference)."""

SLACK_TEXT = 3_000
"""The most characters of a section's text (Slack's reference of blocks)."""


def revision(finding: Finding) -> str:
    """The id with what tells one state of a growing finding from another: 25 characters."""
    evidence = [finding[each] for each in ("last_seen", "flows", "packets", "bytes", "peak")]
    digest = hashlib.blake2b(json.dumps(evidence, default=_spelt).encode(), digest_size=4)
    return f"{finding['id']}-{digest.hexdigest()}"


def subject(finding: Finding) -> str:
    """One line for an e-mail: at most 99 characters of ASCII."""
    state = "" if finding["state"] == "new" else f", {finding['state']}"
    said = f"[{finding['severity']}{state}] {finding['alarm']}: {_who(finding)}"
    plain = _ascii(_clean(said))
    return plain if len(plain) <= SUBJECT else plain[: SUBJECT - 3] + "..."


def message(finding: Finding) -> str:
    """The finding as text for a person, in lines; times are UTC."""
    first, last = (finding[name].astimezone(UTC) for name in ("first_seen", "last_seen"))
    states = {"grown": "grown since it was told", "test": "a test: nothing was found"}
    facts = {
        "alarm": f"{finding['alarm']} ({finding['kind']}), severity {finding['severity']}, "
        f"{states.get(finding['state'], finding['state'])}",
        "who": _named(finding, "who"),
        "whom": _named(finding, "whom"),
        "first seen": f"{first:%Y-%m-%d %H:%M:%S} UTC",
        "last seen": f"{last:%Y-%m-%d %H:%M:%S} UTC",
        "flows": _number(finding["flows"]),
        "packets": _number(finding["packets"]),
        "bytes": _number(finding["bytes"]),
        "peak": _number(finding["peak"]),
        **{str(name).replace("_", " "): _number(n) for name, n in finding["counts"].items()},
        "accounts": ", ".join(finding["account_ids"]),
        "regions": ", ".join(finding["regions"]),
        "lake": finding["lake"],
        "finding": finding["id"],
    }
    lines = [f"{name + ':':<14} {_clean(value)}" for name, value in facts.items() if value]
    evidence = f"Its records:\n\n    {_clean(finding['evidence'])}\n"
    return "\n".join([_clean(finding["why"]), "", *lines, "", evidence])


def _who(finding: Finding) -> str:
    return " -> ".join(filter(None, (_named(finding, "who"), _named(finding, "whom"))))


def _named(finding: Finding, role: str) -> str:
    name, address = finding[f"{role}_name"], finding[role]
    return f"{address} ({name})" if address and name else address or ""


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _clean(text: object) -> str:
    """One line without control characters: a Name tag may have any."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()


def _ascii(text: str) -> str:
    """Letters without their accents; what has no letter in ASCII is a question mark."""
    parts = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in parts if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode()


def _spelt(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return str(value)


def as_json(finding: Finding) -> str:
    """One line of ASCII; times are ISO 8601, UTC."""
    return json.dumps({**finding, "revision": revision(finding)}, default=_spelt)


def as_slack(finding: Finding) -> str:
    """The body of Slack's incoming webhooks: ``text`` for notifications, ``blocks`` to see."""
    head = f"*{_escaped(subject(finding))}*\n{_escaped(_clean(finding['why']))}"
    body = message(finding).split("\n\n", 1)[1]
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        for text in (_first(head, SLACK_TEXT), f"```{_first(_escaped(body), SLACK_TEXT - 6)}```")
    ]
    return json.dumps({"text": _escaped(subject(finding)), "blocks": blocks})


def _escaped(text: str) -> str:
    """Slack's own marks; and no mention of anybody, nor an end of the block."""
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("```", "'''")
    )


def _first(escaped: str, most: int) -> str:
    """The first characters, and no half of an ``&amp;``."""
    return escaped if len(escaped) <= most else re.sub(r"&\w*$", "", escaped[: most - 1]) + "…"
