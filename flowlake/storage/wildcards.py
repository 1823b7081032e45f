"""A place with wildcards: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any folders.

Each name of a path is matched by itself: nothing but ``**`` reaches over a slash.
(``fsspec.utils.glob_translate`` makes one expression of them all, in which ``[!a]`` does.)
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import polars as pl

from flowlake.errors import NothingThere
from flowlake.storage.places import WILDCARD, Keep, Storage


class Wildcards:
    """The objects of a storage that a pattern matches, and those below folders that it matches."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """List folder by folder as far as the pattern chooses, and from there all at once.

        Raises:
            NothingThere: when the pattern matches nothing, and not for the sake of ``keep``.
        """
        root, pattern = _parted(prefix)
        choosing = _choosing(pattern)
        below = [] if choosing else [root]
        found = False

        def wanted(folder: str) -> bool:
            nonlocal found
            kept = keep is None or keep(folder)
            found = found or not kept
            return kept

        def chosen(folder: str) -> bool:
            names = _names(root, folder[:-1])
            if not all(map(fnmatchcase, names, pattern)) or not wanted(folder):
                return False
            if len(names) == choosing:
                below.append(folder[:-1])
            return len(names) < choosing

        def frames() -> Iterator[pl.DataFrame]:
            if choosing:
                yield from self._storage.list(root, chosen)
            for folder in below:
                yield from self._storage.list(folder, wanted if keep is not None else None)

        for frame in frames():
            fits = [_fits(_names(root, url), pattern) for url in frame["url"]]
            if any(fits):
                found = True
                yield frame.filter(pl.Series(fits, dtype=pl.Boolean))
        if not found:
            raise NothingThere(f"Nothing matches {prefix}: check the pattern, and quote it.")


def _parted(place: str) -> tuple[str, list[str]]:
    """The folder that the pattern begins in, and the names of the pattern below it."""
    parts = place.split("/")
    first = next(number for number, part in enumerate(parts) if WILDCARD.search(part))
    return "/".join(parts[:first]) or "/", parts[first:]


def _names(root: str, url: str) -> list[str]:
    return url.removeprefix(root.rstrip("/") + "/").split("/")


def _choosing(pattern: Sequence[str]) -> int:
    """Down to which folder the pattern leaves folders out: listing each pays for itself there.

    Below, all folders match, or nothing can be said of them before ``**`` has been followed. A
    last name with a dot is an object's: its folder is listed whole in any case.
    """
    depth = pattern.index("**") if "**" in pattern else len(pattern)
    if depth == len(pattern) and "." in pattern[-1]:
        depth -= 1
    while depth and pattern[depth - 1] == "*":
        depth -= 1
    return depth


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the pattern matches the names, or the first of them: a folder above."""
    reached = {0}
    for part in pattern:
        if part == "**":
            reached = set(range(min(reached, default=len(names) + 1), len(names) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(names) and fnmatchcase(names[n], part)}
    return bool(reached)
