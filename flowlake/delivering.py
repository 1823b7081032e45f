"""A finding -> the people and programs that want to know of it: SNS, a webhook, a file, stdout.

``wording`` says what a finding is, and puts it into words.

Delivery is at least once: where an answer is lost, the same finding may arrive twice, with the same
``Idempotency-Key`` (webhook) or ``MessageDeduplicationId`` (SNS FIFO topic).
"""

import contextlib
import email.utils
import functools
import http
import http.client
import json
import logging
import os
import random
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from flowlake.aws import Access, client
from flowlake.errors import DeliveryFailed, StorageError, UsageError
from flowlake.wording import Finding, as_json, as_slack, message, subject

__all__ = ["SETTINGS", "Delivery", "Kind", "Setting", "deliver", "message", "subject"]

Kind = Literal["sns", "webhook", "file", "stdout"]
logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds to wait for a connection, and for each part of an answer."""

ATTEMPTS = 5
FIRST_WAIT = 1.0
"""Seconds before the second attempt of a webhook; doubled each time, and up to half of it less."""

PATIENCE = 60.0
"""No attempt begins later than so many seconds after the first."""

MESSAGE_BYTES = 262_144
"""The most that SNS takes as a message (Publish, in its API reference)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be set of a kind of delivery. Of ``choices`` the first is the default."""

    name: str
    meaning: str
    required: bool = False
    choices: tuple[str, ...] = ()


_SHAPE = "how a finding is written"

SETTINGS: Mapping[Kind, tuple[Setting, ...]] = MappingProxyType(
    {
        "sns": (
            Setting(
                "topic_arn",
                "the topic; e-mail gets text, queues, functions and HTTP endpoints get JSON",
                required=True,
            ),
        ),
        "webhook": (
            Setting("url", "where to POST a finding; or url_env"),
            Setting("url_env", "the environment variable that has the URL, where it is a secret"),
            Setting("shape", _SHAPE, choices=("json", "slack")),
            Setting("header", "a request header, with header_env; Authorization if not set"),
            Setting("header_env", "the environment variable that has the header's value"),
        ),
        "file": (
            Setting(
                "path",
                "the file to append to, in a folder that is there; relative to the current folder",
                required=True,
            ),
            Setting("shape", _SHAPE, choices=("json", "text")),
        ),
        "stdout": (Setting("shape", _SHAPE, choices=("json", "text")),),
    }
)
"""What each kind of delivery has to know. A webhook needs ``url`` or ``url_env``, and one only."""

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[\w-]{1,256}(?:\.fifo)?")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One ``[delivery.NAME]`` table of ``alarms.toml``: where findings go.

    Raises:
        UsageError: for a setting that is unknown, missing or cannot be.
    """

    name: str
    kind: Kind
    settings: Mapping[str, str] = field(repr=False)  # a webhook's URL is a secret

    def __post_init__(self) -> None:
        if self.kind not in SETTINGS:
            self._refuse(f"its kind is one of {', '.join(SETTINGS)}, not {self.kind!r}")
        known = {setting.name: setting for setting in SETTINGS[self.kind]}
        if unknown := sorted(set(self.settings) - set(known)):
            self._refuse(
                f"{', '.join(unknown)} cannot be set: kind {self.kind} has {', '.join(known)}"
            )
        for name, setting in known.items():
            value = self.settings.get(name)
            if value is None:
                if setting.required:
                    self._refuse(f"set {name}: {setting.meaning}")
            elif not isinstance(value, str) or not value.strip():
                self._refuse(f"{name} is text that is not empty")
            elif setting.choices and value not in setting.choices:
                self._refuse(f"{name} is one of {', '.join(setting.choices)}, not {value!r}")
        if self.kind == "sns" and not _TOPIC.fullmatch(self.settings["topic_arn"]):
            self._refuse("topic_arn has the form arn:aws:sns:REGION:ACCOUNT:TOPIC")
        if self.kind == "webhook":
            if ("url" in self.settings) == ("url_env" in self.settings):
                self._refuse("set url or url_env, one of them")
            if "url" in self.settings and (problem := _no_url(self.settings["url"])):
                self._refuse(f"url {problem}")
            if "header" in self.settings and "header_env" not in self.settings:
                self._refuse("header goes with header_env, which has its value")
            if not _HEADER.fullmatch(self.settings.get("header", "Authorization")):
                self._refuse("header is the name of a request header")

    def _refuse(self, problem: str) -> NoReturn:
        raise UsageError(f"[delivery.{self.name}]: {problem}.")

    @property
    def shape(self) -> str:
        """How this delivery writes a finding."""
        choices = {setting.name: setting.choices for setting in SETTINGS[self.kind]}
        return self.settings.get("shape") or choices["shape"][0]


def deliver(finding: Finding, to: Delivery, access: Access = Access()) -> None:
    """Hand a finding over, and come back when it has been taken.

    A webhook is tried up to ``ATTEMPTS`` times, an SNS topic too; see ``PATIENCE``.

    Raises:
        DeliveryFailed: when it was not taken. Nothing secret is in the message.
        BrokenPipeError: when the reader of standard output has gone away.
    """
    way: Mapping[Kind, Callable[[], None]] = {
        "sns": lambda: _publish(finding, to, access),
        "webhook": lambda: _post(finding, to),
        "file": lambda: _append(_line(finding, to.shape), to),
        "stdout": lambda: _print(_line(finding, to.shape), to),
    }
    way[to.kind]()
    logger.info("finding %s was delivered to %s", finding["id"], to.name)


def _failed(to: Delivery, problem: str) -> DeliveryFailed:
    return DeliveryFailed(f"[delivery.{to.name}]: {problem}.")


@functools.lru_cache(maxsize=8)
def _topics(region: str, access: Access) -> Any:
    """Botocore's client of SNS in a region."""
    return client(
        "sns",
        region,
        access,
        attempts=ATTEMPTS,
        connect_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
    )


def _publish(finding: Finding, to: Delivery, access: Access) -> None:
    arn = to.settings["topic_arn"]
    match = _TOPIC.fullmatch(arn)
    assert match is not None
    order = {}
    if arn.endswith(".fifo"):
        order["MessageGroupId"] = finding["id"]
        order["MessageDeduplicationId"] = finding["id"]
    told = ("severity", "kind", "alarm", "id")
    try:
        _topics(match["region"], access).publish(
            TopicArn=arn,
            Subject=subject(finding),
            Message=_for_each_protocol(finding),
            MessageStructure="json",
            MessageAttributes={
                name: {"DataType": "String", "StringValue": str(finding[name])} for name in told
            },
            **order,
        )
    except StorageError as error:
        raise _failed(to, str(error).rstrip(".")) from error
    except Exception as error:
        raise _failed(to, f"{arn} did not take it: {_cause(error)}") from error


def _for_each_protocol(finding: Finding) -> str:
    """What SNS gives to whom; long texts are cut, where all of it is more than SNS takes."""
    for most in (MESSAGE_BYTES, 8_000, 1_000):
        short = {name: _cut(value, most) for name, value in finding.items()}
        programs = dict.fromkeys(("sqs", "lambda", "http", "https", "firehose"), as_json(short))
        all_of_it = {"default": message(short), "sms": subject(finding), **programs}
        text = json.dumps(all_of_it, ensure_ascii=False)
        if len(text.encode()) <= MESSAGE_BYTES:
            break
    return text


def _cut(value: Any, most: int) -> Any:
    if not isinstance(value, str) or len(value) <= most:
        return value
    return f"{value[:most]}… ({len(value) - most:,} more characters: ask the lake)"


_CAUSES: tuple[tuple[str, str], ...] = (
    (r"KMS|kms:", "allow kms:GenerateDataKey and kms:Decrypt on the topic's key"),
    (r"NotFound", "there is no such topic: check its name, account and region"),
    (r"AuthorizationError|AccessDenied", "allow sns:Publish on the topic to these credentials"),
    (
        r"InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient|InvalidSignature",
        "the credentials are not accepted: check AWS_PROFILE, the access key and its secret",
    ),
    (r"ExpiredToken|TokenRefresh", "the credentials have expired: log in again"),
    (r"Throttl", f"SNS asks to slow down, and {ATTEMPTS} attempts did not help: run again later"),
    (
        r"^\w*(Connect|Timeout|ConnectionClosed)",
        "SNS cannot be reached: check the network and AWS_ENDPOINT_URL",
    ),
)


def _cause(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, text)), None)
    return cause or " ".join(text.split())[:300].rstrip(".")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, which delivers nothing."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse: the redirect itself is the answer."""


def _no_url(url: str) -> str | None:
    """What is wrong with a webhook's URL, without showing it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "begins with https:// (or http://) and a host"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has a character that no URL has: percent-encode it"
    if "@" in parts.netloc:
        return "has a user or a password: put it into a header, with header and header_env"
    return None


def _from_environment(to: Delivery, setting: str) -> str:
    name = to.settings[setting]
    value = os.environ.get(name, "").strip()
    if not value:
        raise _failed(to, f"the environment variable {name} ({setting}) is not set: export it")
    return value


def _request(finding: Finding, to: Delivery) -> urllib.request.Request:
    url = to.settings.get("url") or _from_environment(to, "url_env")
    if problem := _no_url(url):
        raise _failed(to, f"the URL in {to.settings['url_env']} {problem}")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "flowlake",
        "Idempotency-Key": finding["id"],
        "X-FlowLake-Id": finding["id"],
    }
    if "header_env" in to.settings:
        value = _from_environment(to, "header_env")
        if not value.isascii() or not value.isprintable():
            raise _failed(
                to, f"{to.settings['header_env']} (header_env) has a character no header may have"
            )
        headers[to.settings.get("header", "Authorization")] = value
    body = as_slack(finding) if to.shape == "slack" else as_json(finding)
    return urllib.request.Request(url, body.encode(), headers, method="POST")  # noqa: S310 - http(s), says _no_url


def _post(finding: Finding, to: Delivery) -> None:
    request = _request(finding, to)
    opener = urllib.request.build_opener(_NoRedirect)
    parts = urlsplit(request.full_url)
    where = f"{parts.scheme}://{parts.netloc}/…"  # the rest of the URL is a secret
    begun = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        asked = None
        try:
            opener.open(request, timeout=TIMEOUT).close()
            return
        except urllib.error.HTTPError as error:
            with error:
                status, asked = error.code, _retry_after(error.headers.get("Retry-After"))
            problem = f"{where} answered {_status(status)}"
            if status != 429 and status < 500:
                raise _failed(to, f"{problem}: {_ADVICE.get(status, _REFUSED)}") from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            problem = f"{where} cannot be reached ({_reason(error)})"
        wait = random.uniform(0.5, 1) * FIRST_WAIT * 2 ** (attempt - 1)
        wait = max(wait, asked or 0)
        if attempt == ATTEMPTS or time.monotonic() - begun + wait > PATIENCE:
            break
        logger.info("%s: again in %.1f s", problem, wait)
        time.sleep(wait)
    tried = f"{attempt} attempt{'s' * (attempt > 1)}"
    slow = f", and asks to wait {asked:,.0f} seconds" if asked else ""
    raise _failed(
        to, f"{problem}, after {tried}{slow}: check that it is up, then run again"
    ) from None


_REFUSED = "it does not take findings as they are sent: check its URL, its shape and its header"
_ADVICE = {
    **dict.fromkeys((401, 403), "it wants other credentials: check its URL and its header"),
    **dict.fromkeys((404, 410), "it is not there: check its URL"),
    **dict.fromkeys((301, 302, 303, 307, 308), "it has moved: set the URL that it has now"),
}


def _status(code: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{code} {http.HTTPStatus(code).phrase}"
    return str(code)


def _retry_after(header: str | None) -> float | None:
    """Seconds that a server asks to wait; it may also name the time."""
    if not header:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return None


def _reason(error: Exception) -> str:
    """What is known of a connection that failed; never the text of an answer."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return "timed out" if isinstance(inner, TimeoutError) else type(inner).__name__


def _line(finding: Finding, shape: str) -> str:
    return (as_json(finding) if shape == "json" else message(finding)) + "\n"


def _append(line: str, to: Delivery) -> None:
    """One write at the end of the file, so that writers beside this one do not mix their lines."""
    path = Path(to.settings["path"])
    data = line.encode()
    try:
        with path.open("ab", buffering=0) as file:
            written = file.write(data)
            if written != len(data) and file.tell() == os.fstat(file.fileno()).st_size:
                file.truncate(file.tell() - written)  # or the next line would begin in this one
    except OSError as error:
        raise _failed(
            to, f"{path} cannot be written ({error.strerror}): check path, its folder and the disk"
        ) from error
    if written != len(data):
        raise _failed(to, f"{path} did not take all of it: is the disk full?")


def _print(line: str, to: Delivery) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # who reads has gone away: that ends a command, as it does everywhere
    except OSError as error:
        raise _failed(to, f"standard output cannot be written ({error.strerror})") from error
