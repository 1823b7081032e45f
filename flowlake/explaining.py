"""The errors of deltalake, and of a lake's files, as the house's own."""

import re

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError

from flowlake.aws import explain
from flowlake.errors import CommitConflict, LakeError, StorageError
from flowlake.storage import is_remote


class explained:  # noqa: N801
    """Turn deltalake's errors into the house's own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CommitFailedError):
            raise CommitConflict(
                f"Another process committed to {self._url} at the same time: run again."
            ) from error
        if isinstance(error, (DeltaError, OSError, pl.exceptions.PolarsError)):
            kind_of = StorageError if is_remote(self._url) else LakeError
            text = _plain(error)
            said = None if is_remote(self._url) else _SYSTEM.search(text)
            reason = said[1] if said else explain(text)
            raise kind_of(f"The lake at {self._url} cannot be used: {reason}.") from error


_SYSTEM = re.compile(r'(?:message: "|[:↳]\s*)([A-Z][^:"↳]+)(?:"| \(os error \d+\))')
"""What the system says of a local disk: ``No space left on device``."""


def _plain(error: BaseException) -> str:
    """An error's words without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
