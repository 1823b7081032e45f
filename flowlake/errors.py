"""Every error FlowLake raises on purpose, under one root.

::

    FlowLakeError
    ├── UsageError          a wrong option, time, URL, query name or parameter   exit 2
    ├── StorageError        a bucket or folder could not be listed, read, written exit 1
    │   └── NothingThere    a place that was to be listed is not there
    ├── ObjectUnreadable    one raw object is not a readable flow log             exit 1
    │   └── NotAFlowLog     it is something else altogether
    ├── WorkersLost         a conversion's workers died, or cannot be reached     exit 1
    ├── DeliveryFailed      a finding was not taken where it was to go            exit 1
    └── LakeError           no lake there, or a lake that contradicts itself      exit 1
        └── CommitConflict  another process committed to the lake first

A message is one sentence or two: what happened, and what to do next.
"""

import re
from typing import ClassVar

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, or turns the direction of a line by."""


def visible(text: str, but: str = "") -> str:
    """A text that others wrote, such as an object's key, with control characters spelt out.

    All but these: so it cannot steer a terminal.
    """
    return CONTROL.sub(lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text)


class FlowLakeError(Exception):
    """The root: catch this to catch everything FlowLake raises on purpose."""

    exit_code: ClassVar[int] = 1
    """What the command line exits with when this error ends a command."""


class UsageError(FlowLakeError):
    """The caller asked for something that cannot be: an option, a time, a name, a URL."""

    exit_code: ClassVar[int] = 2


class StorageError(FlowLakeError):
    """A bucket or folder could not be listed, read or written."""


class NothingThere(StorageError):
    """A place that was to be listed is not there: no such folder, no match, no such log group."""


class ObjectUnreadable(FlowLakeError):
    """A raw object as a whole is not a readable flow log; its reason goes to ``rejects``."""


class NotAFlowLog(ObjectUnreadable):
    """A raw object is something else: the message is what it is, such as ``CloudTrail log``."""


class WorkersLost(FlowLakeError):
    """The workers of a conversion died or cannot be reached; what was committed stays."""


class DeliveryFailed(FlowLakeError):
    """A finding was not taken where it was to go; the message has no secret of that place."""


class LakeError(FlowLakeError):
    """There is no lake at the given place, or what is there contradicts itself."""


class CommitConflict(LakeError):
    """Another process committed to the lake after this plan was made."""
