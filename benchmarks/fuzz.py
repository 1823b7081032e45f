"""`python -m benchmarks.fuzz --minutes 10 [--seed N] [OBJECT …]`: read damaged objects, for long.

Takes real and made objects of every shape, and those that are named; damages them (`damage.py`),
and has another process read each and check what is read (`judging.py`), with a limit of time and of
memory. What does not hold, what crashes and what hangs are findings: the object and what it did go
into the folder `findings`. A case is known by the run's seed and its number.
"""

import argparse
import faulthandler
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from benchmarks.damage import damaged
from benchmarks.judging import Seed, check, understood
from flowlake.samples import sample_objects
from tests.test_any_format import SHAPES, example

DATA = Path(__file__).parent.parent / "tests" / "data"
SECONDS = 30.0
"""A case that takes longer is a finding."""
MEMORY = 1 << 30
"""Bytes that no case may need: the objects have some thousands."""
ALIKE = 3
"""Findings of one kind that are kept as files; all are counted."""

Judge = Callable[[Seed, bytes], None]


@dataclass(frozen=True)
class Finding:
    """A case that went wrong: its number, and what happened."""

    number: int
    trouble: str

    @property
    def kind(self) -> str:
        """What findings that are alike share: the place, and the beginning of the message."""
        lines = self.trouble.strip().splitlines()
        places = [line.strip() for line in lines if line.lstrip().startswith("File ")]
        return " ".join([*places[-1:], lines[-1][:50]])


def seeds(named: Sequence[Path] = ()) -> list[Seed]:
    """Real records, what was found before, the objects named, samples, and some of each shape."""
    paths = [*sorted(DATA.glob("records/*.log")), *sorted(DATA.glob("findings/*.bin")), *named]
    made = [Seed(path.name, path.read_bytes()) for path in paths]
    samples = itertools.islice(sample_objects(hours=1, records_per_object=40), 3)
    made += [Seed(Path(key).name, body) for key, body in samples]
    for shape in SHAPES:
        sizes = [(14, 12), (3, 5), (40, 9), (8, 40)] * (3 if "parquet" in shape else 1)
        for number, (size, count) in enumerate(sizes):
            each = example(shape, number, size, count)
            made.append(Seed(f"{shape} {number}", each.made.body, each.formats))
    return [understood(seed) for seed in made]


def case(seed: int, number: int, corpus: Sequence[Seed]) -> tuple[Seed, bytes]:
    """What a run's case reads: the same for the same seed, number and objects."""
    return damaged(Random(f"{seed} {number}"), corpus)


def run(
    seed: int,
    numbers: Iterator[int],
    corpus: Sequence[Seed],
    judge: Judge = check,
    seconds: float = SECONDS,
) -> Iterator[Finding | int]:
    """Judge cases in another process; yield the number of each, or what was found.

    A process that dies or hangs is replaced, and the case at which it did is a finding.
    """
    spawn = multiprocessing.get_context("spawn")
    number = next(numbers, None)
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as said:
        while number is not None:
            ours, theirs = spawn.Pipe()
            child = spawn.Process(
                target=_work, args=(theirs, seed, corpus, judge, said.name, seconds), daemon=True
            )
            child.start()
            theirs.close()
            try:
                while number is not None:
                    failed = number
                    ours.send(number)
                    trouble = ours.recv() if ours.poll(seconds + 60) else "hung, and its watchdog"
                    yield number if trouble is None else Finding(number, trouble)
                    number = next(numbers, None)
            except (EOFError, ConnectionError):
                child.join()
                story = Path(said.name).read_text(errors="replace")
                yield Finding(failed, f"{story}\nthe process ended: {child.exitcode}")
                number = next(numbers, None)
            finally:
                child.kill()
                child.join()
                ours.close()


def _work(
    pipe: Connection, seed: int, corpus: Sequence[Seed], judge: Judge, said: str, seconds: float
) -> None:
    with Path(said).open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
        faulthandler.enable(file)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        room = pages * resource.getpagesize() + 4 * MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        least = _memory()
        while True:
            number = pipe.recv()
            file.truncate(0)
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)
            trouble = None
            try:
                judge(*case(seed, number, corpus))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a panic of Polars is no Exception
                trouble = traceback.format_exc()
            faulthandler.cancel_dump_traceback_later()
            if trouble is None and _memory() > least + MEMORY:
                raise SystemExit("the case needs too much memory")
            pipe.send(trouble)


def _memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def until(end: float) -> Iterator[int]:
    """Numbers from 0, as long as there is time."""
    return itertools.takewhile(lambda _: time.monotonic() < end, itertools.count())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("objects", type=Path, nargs="*", metavar="OBJECT")
    wanted = parser.parse_args()
    corpus, kinds, read = seeds(wanted.objects), Counter[str](), 0
    print(f"seed {wanted.seed}, {len(corpus)} objects, {wanted.minutes:g} minutes", flush=True)
    for found in run(wanted.seed, until(time.monotonic() + 60 * wanted.minutes), corpus):
        read += 1
        if isinstance(found, int):
            continue
        kinds[found.kind] += 1
        if kinds[found.kind] <= ALIKE:
            origin, body = case(wanted.seed, found.number, corpus)
            path = Path("findings", f"{wanted.seed}-{found.number}.bin")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(body)
            about = f"{origin.name}, formats {origin.formats}\n{found.trouble}"
            path.with_suffix(".txt").write_text(about)
            print(f"{path}: {found.kind}", flush=True)
    print(f"{read:,} cases, {kinds.total():,} findings")
    for kind, count in kinds.most_common():
        print(f"{count:8,}  {kind}")
    sys.exit(1 if kinds else 0)


if __name__ == "__main__":
    main()
