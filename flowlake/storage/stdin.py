"""Standard input: one object, known by its content."""

import hashlib
import logging
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flowlake.errors import StorageError, UsageError
from flowlake.storage.places import LISTING, PIECE, STDIN, Body, Keep, on_disk

logger = logging.getLogger(__name__)


class Stdin:
    """What this process reads on its standard input, held in a file that has no name."""

    requests_in_flight = 1

    def __init__(self) -> None:
        self._url = ""
        self._body: Body = b""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:  # noqa: ARG002
        """Read to the end: one object named ``stdin:`` and the digest of its bytes, or none.

        Raises:
            UsageError: when standard input is a terminal, or closed.
            StorageError: when it cannot be read, or its bytes cannot be held.
        """
        body, digest = self.read()
        if not body:
            logger.warning("standard input is empty")
            return
        self._url, self._body = STDIN + digest, body
        row = (self._url, len(body), digest, datetime.now(UTC))
        yield pl.DataFrame([row], schema=LISTING, orient="row")

    def read(self) -> tuple[Body, str]:
        """The bytes on standard input and their digest. Errors are ``list``'s."""
        if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
            raise UsageError(
                "There is nothing on standard input: pipe an object into it, as in "
                "`flowlake convert - < FILE`."
            )
        digest = hashlib.blake2b(digest_size=16)

        def pieces() -> Iterator[bytes]:
            while piece := sys.stdin.buffer.read(PIECE):
                digest.update(piece)
                yield piece

        body = on_disk(pieces(), "standard input")
        return body, digest.hexdigest()

    def get(self, url: str, etag: str | None = None) -> Body:  # noqa: ARG002  # the URL says it
        """The bytes that this process has read."""
        if url != self._url:
            raise StorageError(f"{url} was read by another process: pipe it again.")
        return self._body

    def put(self, url: str, body: Any) -> None:  # noqa: ARG002
        """Refused."""
        raise UsageError(f"{url} can only be read.")

    def delete(self, urls: Iterable[str]) -> None:  # noqa: ARG002
        """Refused."""
        raise UsageError(f"{STDIN} can only be read.")
