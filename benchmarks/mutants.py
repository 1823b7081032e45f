"""`python -m benchmarks.mutants MODULE[,MODULE…] TEST…`: break the code, and see who notices.

Changes one thing at a time in a module such as `flowlake/reading/text.py`; `mutating.py` says what.
The tests that pass the changed line run on it, the quickest first, each mutant in a fork of one
process that has collected them. What survives is printed: a test is missing, or the code is not
needed, or the mutant means the same. Somebody has to look.

The tests must run in this process. Those in processes of their own meet the code as it is, and
those that use Polars' threads while they are collected would hang in a fork.
"""

import argparse
import ast
import contextlib
import os
import pickle
import resource
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings

from benchmarks.mutating import Mutant, mutants

SPARE = 6
"""Seconds of processor that a mutant may take beyond three times what its tests take."""
MEMORY = 6 << 30
"""Bytes that a mutant may have."""

Lines = dict[Path, set[int]]


@dataclass(frozen=True)
class Passed:
    """A test, the lines of each module it passes, and the seconds of processor it takes."""

    item: pytest.Item
    lines: Lines
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Print each mutant that survives or meets no test, and how many there were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants")
    parser.add_argument("modules", help="paths, with commas between")
    parser.add_argument("tests", nargs="+", help="files of tests, as pytest has them")
    parser.add_argument("-k", default="", help="which of the tests, as pytest has it")
    parser.add_argument("--sample", type=int, help="so many mutants of a module; else every one")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--examples", type=int, default=12, help="the most of a Hypothesis test")
    parser.add_argument("--seconds", type=float, default=15, help="of tests that a mutant meets")
    given = parser.parse_args(arguments)
    phases = (Phase.explicit, Phase.generate)  # a failure is enough, it need not be small
    settings.register_profile("mutants", phases=phases, database=None, derandomize=True)
    settings.load_profile("mutants")
    quiet = ("-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:faulthandler")
    early = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main([*quiet, *early, "-k", given.k, *given.tests], plugins=[_Judge(given)]))


class _Judge:
    """A plugin of pytest that runs the tests on mutants, instead of once."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        modules = [Path(name) for name in self._given.modules.split(",")]
        _limit_examples(session.items, self._given.examples)
        passed = survey(session.items, modules)
        for module in modules:
            self._judge(module, passed)
        return True

    def _judge(self, module: Path, passed: Sequence[Passed]) -> None:
        tree = ast.parse(module.read_text())
        everything = [*mutants(tree)]
        chosen = everything
        if self._given.sample and self._given.sample < len(everything):
            numbers = range(len(everything))
            drawn = sorted(Random(self._given.seed).sample(numbers, self._given.sample))
            chosen = [everything[number] for number in drawn]
        passed = sorted((t for t in passed if module in t.lines), key=lambda test: test.seconds)
        print(f"\n{module}: {len(passed)} tests", flush=True)
        if verdict := self._verdict(module, tree, None, passed):
            raise SystemExit(f"the code as it is, put in its own place: {verdict}")
        counts: Counter[str] = Counter()
        for mutant in chosen:
            tests = [test for test in passed if mutant.line in test.lines[module]]
            verdict = self._verdict(module, tree, mutant, tests) if tests else "no test"
            kind = verdict if verdict in ("no test", "timeout") else "killed"
            counts[kind if verdict else "survived"] += 1
            if verdict in ("", "no test"):
                print(
                    f"{verdict or 'survived':9} {module}:{mutant.line}  {mutant.change}", flush=True
                )
        told = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        print(f"{module}: {len(chosen)} of {len(everything)} mutants: {told}", flush=True)

    def _verdict(
        self, module: Path, tree: ast.Module, mutant: Mutant | None, tests: Sequence[Passed]
    ) -> str:
        """The test that fails, ``timeout``, or nothing."""
        met = [*_within(tests, self._given.seconds)]

        def judge() -> str:
            if mutant is not None:
                mutant.put()
            try:
                put_in_place(module, ast.fix_missing_locations(tree))
            except Exception as error:
                return f"{error!r} when it is imported"
            items = [test.item for test in met]
            pairs = zip(items, [*items[1:], None], strict=True)
            return next((item.nodeid for item, then in pairs if _fails(item, then)), "")

        verdict: str = in_a_fork(judge, 3 * sum(test.seconds for test in met) + SPARE)
        return verdict


def _within(tests: Sequence[Passed], seconds: float) -> Iterator[Passed]:
    """The first tests that take no longer together; at least one."""
    for number, test in enumerate(tests):
        seconds -= test.seconds
        if number and seconds < 0:
            return
        yield test


def _limit_examples(items: Sequence[pytest.Item], most: int) -> None:
    for item in items:
        test: Any = getattr(item, "obj", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None:
            fewer = settings(own, max_examples=min(most, own.max_examples))
            test._hypothesis_internal_use_settings = fewer
    if any_format := sys.modules.get("tests.test_any_format"):
        any_format.EXAMPLES = most  # type: ignore[attr-defined]


def _fails(item: pytest.Item, then: pytest.Item | None = None) -> bool:
    """Whether a test fails; the fixtures that the one after it shares are kept for that."""
    return any(report.failed for report in runtestprotocol(item, nextitem=then, log=False))


def survey(items: Sequence[pytest.Item], modules: Sequence[Path]) -> list[Passed]:
    """What each test passes of the modules, by running all of them once, in a fork."""
    named = {str(module.resolve()): module for module in modules}

    def look() -> list[tuple[Lines, float, bool]]:
        return [_traced(item, named) for item in items]

    looked = in_a_fork(look, 3600)
    if not isinstance(looked, list):
        raise SystemExit(f"the tests on the code as it is: {looked}")
    trees = {module: ast.parse(module.read_text()) for module in modules}
    passed = []
    for item, (lines, seconds, wrong) in zip(items, looked, strict=True):
        if wrong:
            print(f"left out, it fails on the code as it is: {item.nodeid}")
        else:
            spread = {module: _spread(lines[module], trees[module]) for module in lines}
            passed.append(Passed(item, spread, seconds))
    return passed


def _traced(item: pytest.Item, named: dict[str, Path]) -> tuple[Lines, float, bool]:
    lines: Lines = {}

    def inside(frame: FrameType, _event: str, _argument: Any) -> Any:
        lines.setdefault(named[frame.f_code.co_filename], set()).add(frame.f_lineno)
        return inside

    def outside(frame: FrameType, event: str, argument: Any) -> Any:
        return inside(frame, event, argument) if frame.f_code.co_filename in named else None

    threading.settrace(outside)
    sys.settrace(outside)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    wrong = _fails(item)
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    sys.settrace(None)
    threading.settrace(None)
    return lines, seconds, wrong


def _spread(lines: set[int], tree: ast.Module) -> set[int]:
    """The lines, those of the same statements, and those that run when the module is imported."""
    inside: set[int] = set()
    more = set(lines)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside |= {*range(node.body[0].lineno, (node.end_lineno or 0) + 1)}
        elif isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            own = {*range(node.lineno, max(last, node.lineno) + 1)}
            more |= own if own & lines else set()
    everything = {*range(1, 1 + max(getattr(node, "lineno", 0) for node in ast.walk(tree)))}
    return more | (everything - inside)


def in_a_fork(call: Callable[[], Any], seconds: float) -> Any:
    """The answer of a call in a fork; ``timeout`` after those seconds of processor, or ``died``."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, at rest
        child = os.fork()
    if not child:
        os.close(reading)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with os.fdopen(writing, "wb") as pipe, contextlib.suppress(BaseException):
            pickle.dump(call(), pipe)
        os._exit(0)
    os.close(writing)
    # It may also wait for what never comes.
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(int(10 * seconds) + 1)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    signal.alarm(0)
    status = os.waitpid(child, 0)[1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has started
    if told:
        return pickle.loads(told)
    return "timeout" if os.WIFSIGNALED(status) else "died"


def put_in_place(module: Path, tree: ast.Module) -> None:
    """Give a loaded module, and whoever has imported from it, the code and the values of a tree."""
    name = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
    loaded = sys.modules[name]
    fresh: dict[str, Any] = {
        key: value for key, value in vars(loaded).items() if key.startswith("__")
    }
    exec(compile(tree, str(module.resolve()), "exec"), fresh)
    for key, value in fresh.items():
        old = vars(loaded).get(key)
        if key.startswith("__") or old is value or old is None:
            continue
        if isinstance(value, type | FunctionType) and value.__module__ != name:
            continue
        if _recode(old, value) or isinstance(value, type):
            continue
        if type(old) in (int, float, bool, str, bytes) and old == value:
            continue  # a constant of its own, which others may share
        for other in list(sys.modules.values()):
            for theirs, there in list(getattr(other, "__dict__", {}).items()):
                if there is old:
                    setattr(other, theirs, value)


def _recode(old: Any, new: Any) -> bool:
    """Give a function, or the functions of a class, the code of another; False for what is none."""
    if isinstance(old, type):
        for key, value in vars(new).items():
            if key in vars(old):
                _recode(vars(old)[key], value)
        return True
    if isinstance(old, property):
        return _recode(old.fget, new.fget)
    if isinstance(old, staticmethod | classmethod):
        return _recode(old.__func__, new.__func__)
    if hasattr(old, "cache_clear"):
        old.cache_clear()
    while hasattr(old, "__wrapped__"):
        old, new = old.__wrapped__, new.__wrapped__
    if not isinstance(old, FunctionType):
        return False
    old.__code__ = new.__code__
    old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
