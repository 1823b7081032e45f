"""S3 event notifications, as they lie in SNS, SQS, Lambda and EventBridge -> the objects they name.

Structures: Amazon S3 User Guide, "Event message structure" and "EventBridge event message
structure". In the former the key is URL-encoded with ``+`` for a space; in EventBridge's it is the
key itself (seen by others with keys such as ``%2B%20``; AWS's guide does not say).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from json import JSONDecoder
from typing import Any
from urllib.parse import unquote_plus

_GONE = re.compile(r"ObjectRemoved|LifecycleExpiration|LostObject|Object Deleted")
_TEST = "s3:TestEvent"
OTHER = "not of S3"
"""The kind of what is no event of S3."""


def documents(text: str) -> Iterator[Any]:
    """The JSON documents that follow each other in a text, with or without line ends between.

    Raises:
        ValueError: where the text is not JSON, or JSON that Python has no room for.
    """
    decoder, text, at = JSONDecoder(), text.strip(), 0
    while at < len(text):
        try:
            found, at = decoder.raw_decode(text, at + text[at].isspace())
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        yield found


def named_in(messages: Iterable[Any]) -> tuple[list[str], Counter[str]] | None:
    """The URLs of the objects that messages name, and the others counted by kind.

    Events of objects that are gone and S3's test events name nothing to convert. None if no
    message is S3's.
    """
    urls: list[str] = []
    others: Counter[str] = Counter()
    for kind, url in _events(messages):
        if url is None or _GONE.search(kind):
            others[kind] += 1
        else:
            urls.append(url)
    return None if not urls and set(others) == {OTHER} else (urls, others)


def _events(message: Any) -> Iterator[tuple[str, str | None]]:
    """The kind of each event, and the object that it speaks of."""
    match message:
        case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            yield str(message.get("eventName")), _url(bucket, unquote_plus(key))
        case {"detail": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            yield str(message.get("detail-type")), _url(bucket, key)
        case {"Event": "s3:TestEvent"}:
            yield _TEST, None
        case (
            {"Records": inner}
            | {"Sns": inner}
            | {"Messages": inner}
            | {"Body": inner}
            | {"body": inner}
            | {"Message": inner}
        ):
            yield from _events(inner)
        case str():
            try:
                yield from _events(list(documents(message)))
            except ValueError:
                yield OTHER, None
        case dict():
            yield OTHER, None
        case _ if isinstance(message, Iterable):
            for each in message:
                yield from _events(each)
        case _:
            yield OTHER, None


def _url(bucket: str, key: str) -> str | None:
    """None for half a character, which JSON can spell and no key has."""
    url = f"s3://{bucket}/{key}"
    return url if url == url.encode(errors="replace").decode() else None
