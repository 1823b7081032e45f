"""What an object is that is not a flow log: named, so that skipping it can be looked at."""

import re
from collections.abc import Iterable

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF-", "PDF document"),
    (rb"PK\x03\x04", "zip archive"),
    (rb"\x28\xb5\x2f\xfd", "zstd file"),
    (rb"BZh[1-9]1AY&SY", "bzip2 file"),
    (rb"\xfd7zXZ\x00", "xz file"),
    (rb"Obj\x01", "Avro file"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a", "picture"),
    (rb"\x7fELF", "program"),
    (rb".{257}ustar(?:\x00|  \x00)", "tar archive"),
)
"""How files begin that are no flow log whatever they hold: an archive may hold records as text."""

BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (rb"ORC", "ORC file"),
    (rb"MZ", "program"),
    (rb"\s*Permission Check Successful", "CloudWatch Logs write test"),
    (rb"#Version: 1\.0\s+#Fields: date time x-edge-location", "CloudFront log"),
    (rb"(?:https?|h2|grpcs?|wss?) \d{4}-\d\d-\d\dT\S+Z app/", "ALB access log"),
    (rb"tls \d\.\d \d{4}-\d\d-\d\dT", "NLB access log"),
    (rb"\d{4}-\d\d-\d\dT\S+Z \S+ \S+:\d+ \S+ -?[\d.]+ -?[\d.]+ ", "Classic ELB access log"),
    (rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", "CloudWatch Logs export of no flow log"),
    (rb"[0-9a-f]{64} \S+ \[\d\d/\w{3}/\d{4}:", "S3 access log"),
    (rb'\s*\{\s*"Records"\s*:\s*\[\s*\{\s*"event(?:Version|Name|Time|Source)"', "CloudTrail log"),
    (rb'\s*\{\s*"Records"\s*:\s*\[\s*\{\s*"(?:userIdentity|awsRegion)"', "CloudTrail log"),
    (rb'\s*\{\s*"awsAccountId"\s*:.*?"digest', "CloudTrail digest"),
    (rb'\s*\{\s*"fileVersion".*?"configurationItems"', "AWS Config snapshot"),
    (rb'\s*\{.{0,400}?"query_name"', "Route 53 Resolver query log"),
    (rb'\s*\{.{0,400}?"webaclId"', "AWS WAF log"),
    (rb'\s*\{.{0,4000}?"firewall_name"', "Network Firewall log"),
    (rb'\s*\{\s*"schemaVersion".{0,4000}?"service"\s*:', "GuardDuty findings"),
    (rb"\s*[\[{]", "JSON without flow log records"),
    (rb"\s*<", "HTML or XML document"),
    (rb'(?:"[^"\n]*"|[^\s,"]*)(?:,(?:"[^"\n]*"|[^\s,"]*))+\r?\n', "CSV file"),
)
"""How each begins (a regular expression), most telling first, and what it is.

Sources: the file signatures; the AWS guides of each service, its log file's format."""


def signature_of(head: bytes) -> str | None:
    """Name a file that is no flow log by its signature; None for a file without one."""
    return _named(head, SIGNATURES)


def kind_of(head: bytes) -> str:
    """Name what an object is by its first bytes, when they are no flow log's."""
    if (kind := _named(head, BEGINNINGS)) is not None:
        return kind
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return "binary data"
    return "text that is no flow log"


def _named(head: bytes, beginnings: Iterable[tuple[bytes, str]]) -> str | None:
    found = (kind for beginning, kind in beginnings if re.match(beginning, head, re.DOTALL))
    return next(found, None)
