"""What is wrong in an alarms.toml is said with its line, before anything is evaluated."""

from datetime import timedelta
from pathlib import Path

import pytest

from flowlake.detections import DETECTIONS
from flowlake.errors import UsageError
from flowlake.rules import KINDS, parse_rules, read_rules, spelled
from tests.conftest import s3_client

GOOD = """
[delivery.security]
kind = "sns"
topic_arn = "arn:aws:sns:eu-west-1:123456789012:security"

[delivery."on call"]
kind = "webhook"
url_env = "ON_CALL_URL"

[[alarm]]
name = "scanned from outside"
kind = "port_scan"
ports = 10
window = "30m"
targets = ["10.0.0.0/16", "tag:Name=web*", "vpc-0a1b"]
ignore = ["192.0.2.7"]
severity = "critical"
deliver = ["security", "on call"]
accounts = ["123456789012"]
regions = ["eu-west-1"]

[[alarm]]
name = "swept"
kind = "host_sweep"
"""


def test_what_is_read() -> None:
    rules = parse_rules(GOOD)
    scanned, swept = rules.alarms
    assert (scanned.name, scanned.kind, scanned.severity) == (
        "scanned from outside",
        "port_scan",
        "critical",
    )
    assert scanned.deliver == ("security", "on call")
    assert (scanned.accounts, scanned.regions) == (("123456789012",), ("eu-west-1",))
    assert scanned.given == {
        "ports": 10,
        "window": timedelta(minutes=30),
        "targets": ("10.0.0.0/16", "tag:Name=web*", "vpc-0a1b"),
        "ignore": ("192.0.2.7",),
    }
    assert scanned.window == timedelta(minutes=30)
    assert swept.given == {}
    assert swept.severity == KINDS["host_sweep"].severity
    assert swept.value("hosts") == KINDS["host_sweep"].defaults()["hosts"]
    assert list(rules.deliveries) == ["security", "on call"]
    assert rules.deliveries["on call"].kind == "webhook"


ALARM = '[[alarm]]\nname = "a"\nkind = "port_scan"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "no [[alarm]]"),
        ("[[alarm]\n", 1, "not TOML"),
        ("x = 1\n" + ALARM, 1, "neither [[alarm]] nor [delivery.NAME]"),
        (ALARM + "\n[alarms]\n", 5, "'alarms' is neither"),
        ('[alarm]\nname = "a"\n', 1, "two brackets"),
        ("delivery = 3\n" + ALARM, 1, "[delivery.NAME]"),
        ('[[alarm]]\nkind = "port_scan"\n', 1, "it needs a name"),
        ('[[alarm]]\nname = 3\nkind = "port_scan"\n', 2, "it needs a name"),
        ('[[alarm]]\nname = "a"\n', 1, "there is no kind None"),
        ('[[alarm]]\nname = "a"\nkind = "port_scam"\n', 3, "perhaps 'port_scan'"),
        (ALARM + 'severity = "bad"\n', 4, "severity is one of low, medium, high, critical"),
        (ALARM + 'deliver = ["x"]\n', 4, "there is no delivery 'x': add [delivery.x]"),
        (ALARM + 'deliver = "x"\n', 4, "deliver is a list of texts"),
        (ALARM + "accounts = [1]\n", 4, "accounts is a list of texts"),
        (ALARM + 'accounts = ["1"]\n', 4, "12 digits"),
        (ALARM + "# ports are many\nprots = 3\n", 5, "perhaps 'ports'"),
        (ALARM + "ports = -1\n", 4, "ports: write a whole number"),
        (ALARM + "ports = 1.5\n", 4, "ports: write a whole number"),
        (ALARM + "ports = true\n", 4, "ports: write a whole number"),
        (ALARM + "window = 5\n", 4, 'window: write a time such as "5m"'),
        (ALARM + 'window = "5 minutes"\n', 4, "15m, 24h, 7d or 2w"),
        (ALARM + 'window = "0m"\n', 4, "window: write a time"),
        (ALARM + 'targets = "10.0.0.0/8"\n', 4, "targets: write a list"),
        (ALARM + 'targets = ["10.0.0.0/8", "10.0.0.300"]\n', 4, "'10.0.0.300' is nobody"),
        (ALARM + "targets = [3]\n", 4, "targets: write texts in quotes"),
        (ALARM + ALARM, 5, "there is another alarm 'a'"),
        ('[[alarm]]\nname = "a"\nkind = "watched_port"\n', 3, "watched_port needs"),
        (
            '[[alarm]]\nname = "a"\nkind = "watched_port"\nports = [70000]\n',
            4,
            "0 to 65535",
        ),
        (
            '[[alarm]]\nname = "a"\nkind = "forbidden_endpoint"\nservers = ["any"]\n'
            'allow = ["x:y"]\n',
            5,
            "allow: ",
        ),
        ('[delivery.x]\nkind = "pager"\n' + ALARM, 2, "kind is one of sns, webhook"),
        ("[delivery.x]\n" + ALARM, 1, "kind is one of sns, webhook"),
        ('[delivery.x]\nkind = "sns"\ntopic_arn = "sns"\n' + ALARM, 3, "arn:aws:sns:REGION"),
        ('[delivery.x]\nkind = "file"\npath = 3\n' + ALARM, 3, "path is text"),
        ('[delivery.x]\nkind = "file"\npaht = "x"\n' + ALARM, 3, "paht cannot be set"),
    ],
)
def test_what_is_wrong(text: str, line: int | None, words: str) -> None:
    with pytest.raises(UsageError) as wrong:
        parse_rules(text, "rules.toml")
    assert words in str(wrong.value)
    where = "rules.toml " if line is None else f"rules.toml:{line}: "
    assert str(wrong.value).startswith(where)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*none.toml: No such file"):
        read_rules(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_rules(bad)


def test_rules_may_lie_in_a_bucket(s3: str, s3_server: str) -> None:
    client = s3_client(s3_server)
    client.put_object(Bucket=s3.removeprefix("s3://"), Key="alarms.toml", Body=GOOD.encode())
    client.close()
    assert len(read_rules(f"{s3}/alarms.toml").alarms) == 2


@pytest.mark.parametrize("kind", [each.kind for each in DETECTIONS])
def test_every_default_can_be_written(kind: str) -> None:
    """What `flowlake alarms list` shows as a default means the same in a file."""
    found = KINDS[kind]
    needed = {
        "ports": "[22]",
        "targets": '["any"]',
        "servers": '["any"]',
        "allow": '["10.0.0.0/8"]',
    }
    lines = ["[[alarm]]", 'name = "x"', f'kind = "{kind}"']
    for parameter in found.parameters:
        text = needed[parameter.name] if parameter.required else spelled(parameter.default)
        if text:
            lines.append(f"{parameter.name} = {text}")
    (alarm,) = parse_rules("\n".join(lines)).alarms
    for parameter in found.parameters:
        if parameter.type not in ("scope", "allowed", "networks") and not parameter.required:
            assert alarm.value(parameter.name) == parameter.default
    assert (found.threshold is None) or found.threshold in found.defaults()
    assert (found.window is None) or isinstance(found.defaults()[found.window], timedelta)
    assert ("days" in found.defaults()) == found.learns


def test_each_kind_has_what_its_alarm_needs() -> None:
    kinds = {each.kind for each in DETECTIONS}
    assert kinds == {
        *("port_scan", "host_sweep", "slow_scan", "watched_port", "forbidden_endpoint"),
        *("brute_force", "beacon", "egress_volume", "silent_interface", "reject_surge"),
    }
    assert all(each.source and each.about and each.title for each in DETECTIONS)
