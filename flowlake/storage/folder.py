"""The local disk."""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from flowlake.errors import NothingThere, StorageError
from flowlake.storage.places import LARGE, LISTING, PIECE, Body, Keep, Listed, on_disk


class Folder:
    """The local disk."""

    requests_in_flight = 1

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Walk the folder; symbolic links to files are followed, to folders are not."""
        try:
            if Path(prefix).is_file():
                yield self._frame([prefix])
                return
            if not Path(prefix).is_dir():
                raise NothingThere(f"There is no folder or file at {prefix}: check the spelling.")
            for folder, folders, files in os.walk(prefix, onerror=_unless_gone):
                folders[:] = [
                    name
                    for name in sorted(folders)
                    if keep is None or keep(os.path.join(folder, name, ""))  # noqa: PTH118
                ]
                if files:
                    yield self._frame([os.path.join(folder, name) for name in sorted(files)])  # noqa: PTH118
        except OSError as error:
            raise StorageError(f"Cannot list {error.filename}: {error.strerror}.") from error

    def _frame(self, paths: Iterable[str]) -> pl.DataFrame:
        rows = [row for path in paths if (row := self._row(path))]
        return pl.DataFrame(rows, schema=LISTING, orient="row")

    @staticmethod
    def _row(path: str) -> Listed | None:
        spelt = os.fsencode(path).decode(errors="backslashreplace")
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for each file takes as long again
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return None
            return spelt, 0, "", datetime.now(UTC)  # reading it will say why
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            return None
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
        if spelt != path:
            return spelt, 0, "", modified
        return path, found.st_size, _local_etag(found), modified

    def head(self, url: str) -> Listed | None:
        """The row that a listing has of the file; None if there is none to be seen."""
        return self._row(url)

    def get(self, url: str, etag: str | None = None) -> Body:
        """Read the file; it must be what was listed before and after the read."""
        try:
            with Path(url).open("rb") as file:
                large = os.fstat(file.fileno()).st_size > LARGE
                body = on_disk(iter(lambda: file.read(PIECE), b""), url) if large else file.read()
                now = _local_etag(os.fstat(file.fileno()))
        except OSError as error:
            reason = error.strerror
            if etag == "" and "\\x" in url:
                reason = "its name is not UTF-8, rename it"
            raise StorageError(f"Cannot read {url}: {reason}.") from error
        if etag is not None and now != etag:
            raise StorageError(f"{url} changed while it was being read: run again.")
        return body

    def put(self, url: str, body: Any) -> None:
        """Write beside and rename, so that a half-written file never has the name."""
        target = Path(url)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(body)
            beside.replace(target)
        except OSError as error:
            raise StorageError(f"Cannot write {url}: {error.strerror}.") from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def delete(self, urls: Iterable[str]) -> None:
        """Unlink the files."""
        for url in urls:
            try:
                Path(url).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"Cannot delete {url}: {error.strerror}.") from error


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _local_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"
