"""How much memory a conversion may take, and what that leaves each worker.

A worker's share bounds what it holds of raw objects, of text and of rows.
"""

import os
import re
from pathlib import Path

from flowlake.errors import UsageError

MIB = 1 << 20

PROCESS = 260 * MIB
"""What a process has before it reads anything: the interpreter and the engines."""

LEAST, MOST = 256 * MIB, 512 * MIB
"""What a worker needs to hold text, rows and a file of them; and what more makes it no faster."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """A size in bytes: ``512MB``, ``1.5G``, ``2GiB``; a K is 1,024 bytes, as tools of memory count.

    Raises:
        UsageError: when it is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is no size: write 512MB, 1.5GB or 2GiB.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def memory_of(given: int | str | None) -> int:
    """Bytes that were given, or half of what this process may have: a machine's or a container's.

    Raises:
        UsageError: for what is no size, and for too little to convert in.
    """
    memory = _half() if given is None else parse_size(given) if isinstance(given, str) else given
    shared_out(memory, 1, processes=False)
    return memory


def _half() -> int:
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            most = min(most, int(Path("/sys/fs/cgroup", limit).read_text()))
        except (OSError, ValueError):
            continue
    return most // 2


def shared_out(memory: int, workers: int, *, processes: bool) -> tuple[int, int]:
    """How many of the workers fit in the memory, and the bytes that each may hold.

    Raises:
        UsageError: when there is too little for one.
    """
    for count in range(workers, 0, -1):
        alone = count == 1 or not processes
        left = memory - (PROCESS if alone else (count + 1) * PROCESS)
        if left // count >= LEAST:
            return count, min(left // count, MOST)
    raise UsageError(
        f"{memory // MIB:,} MiB is too little memory to convert in: {(PROCESS + LEAST) // MIB} MiB "
        "is the least. Give more with --memory."
    )
