"""`python -m benchmarks [NAME…]`: measure, and write `benchmarks/RESULTS.md`.

The names are convert, queries, hunt and compact; without one, all of them. The sections of
benchmarks that did not run stay as they are.
"""

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import compact, convert, hunt, queries

RESULTS = Path(__file__).with_name("RESULTS.md")
BENCHMARKS = {
    "convert": convert.section,
    "queries": queries.section,
    "hunt": hunt.section,
    "compact": compact.section,
}
PACKAGES = ("flowlake", "duckdb", "polars", "pyarrow", "deltalake", "isal")


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            raise SystemExit(f"There is no benchmark {name!r}: {', '.join(BENCHMARKS)}.")
    old = RESULTS.read_text() if RESULTS.exists() else ""
    kept = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", old, re.DOTALL))
    for name in names:
        kept[name] = BENCHMARKS[name]().strip() + "\n\n"
        RESULTS.write_text(_page(kept))
    print(RESULTS.read_text())


def _page(sections: dict[str, str]) -> str:
    text = (
        f"# Results\n\n{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + ". Local disk, seeded data.\n\n"
    )
    return text + "".join(
        f"<!-- {name} -->\n{sections[name]}" for name in BENCHMARKS if name in sections
    )


if __name__ == "__main__":
    main()
