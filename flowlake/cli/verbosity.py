"""How much the command line says beside its answer, all of it on standard error.

One thing decides: the level of the logger ``flowlake``. At ``ERROR`` nothing is told but errors, at
``DEBUG`` the loggers of the library tell what is listed, planned, read, committed and tried again.
`flowlake.progress` goes by the same level.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum

from flowlake.errors import visible

LOGGER = logging.getLogger("flowlake")

SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Environment variables whose value is nobody's to see."""

_SIGNED = re.compile(
    r"(?i)\b(X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=[^&\s'\"]+"
)
"""What signs a presigned URL (Amazon S3 API Reference, "Authenticating Requests")."""

_OF_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


class Verbosity(IntEnum):
    """How much is said."""

    QUIET = logging.ERROR
    NORMAL = logging.WARNING
    VERBOSE = logging.DEBUG


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Let the library's loggers tell on standard error meanwhile, as `speak` says."""
    teller = _Teller()
    teller.setFormatter(_Formatter())
    LOGGER.addHandler(teller)
    LOGGER.setLevel(Verbosity.NORMAL)
    try:
        yield
    finally:
        LOGGER.removeHandler(teller)
        LOGGER.setLevel(logging.NOTSET)


def speak(wanted: Verbosity) -> None:
    """Say so much from here on."""
    LOGGER.setLevel(wanted)


def remarks() -> bool:
    """Whether more is to be said than errors."""
    return LOGGER.isEnabledFor(logging.WARNING)


def told(text: str) -> str:
    """A text as it is told: without secrets, and a key's control characters spelt out."""
    return visible(without_secrets(text), but="\n\t")


def without_secrets(text: str) -> str:
    """A text without the signatures of URLs, passwords in them, and keys of the environment."""
    text = _SIGNED.sub(r"\1=…", text)
    text = _OF_URL.sub("://…@", text)
    for name in SECRETS:
        secret = os.environ.get(name, "")
        if len(secret) >= 8:  # a shorter one is no key, and may be a word
            text = text.replace(secret, "…")
    return text


class _Teller(logging.Handler):
    """Standard error as it is when something is said."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


class _Formatter(logging.Formatter):
    """A line: time (UTC), level, logger, words. A warning without ``--verbose`` is words alone."""

    def format(self, record: logging.LogRecord) -> str:
        words = told(record.getMessage())
        if LOGGER.level > logging.INFO:
            return f"flowlake: {words}"
        at = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        return f"{at.isoformat(timespec='milliseconds')}Z {record.levelname} {record.name}: {words}"
