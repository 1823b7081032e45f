"""One address: ``flowlake hunt`` in a lake, beside ``zgrep`` over the raw objects it was made of.

Whole processes, as somebody types them. Both must find the same number of records.
"""

import os

from benchmarks import data
from benchmarks.data import RARE
from benchmarks.measuring import (
    Run,
    cpus,
    flowlake,
    in_turn,
    measure,
    middle,
    peak,
    ratios,
    table,
    walls,
)
from flowlake.fields import DEFAULT_FORMAT

ZGREP = f"find '{{}}' -name '*.log.gz' -print0 | xargs -0 {{}} zgrep -hwF {RARE} || [ $? = 123 ]"
"""123: of some object zgrep says that nothing was found."""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects, records, runs = (4, 10_000, 1) if quick else (40, data.RECORDS, 3)
    raw = data.raw(DEFAULT_FORMAT, objects, records, parquet=True, rare=True) / "text"
    size = sum(file.stat().st_size for file in raw.rglob("*.gz")) / 1e6
    lake = data.folder() / "grep-lake"
    converted = measure(flowlake("convert", str(raw), "--lake", str(lake)))
    hunt = flowlake("hunt", RARE, "--lake", str(lake), "--format", "csv")

    def zgrep(parallel: str) -> Run:
        return measure(["bash", "-c", ZGREP.format(raw, parallel)])

    found = in_turn(
        runs,
        {
            "flowlake hunt": lambda: measure(hunt),
            "zgrep": lambda: zgrep(""),
            "zgrep, a process a core": lambda: zgrep(f"-n 1 -P {os.cpu_count()}"),
        },
    )
    ours = found["flowlake hunt"]
    lines = {name: len(each[0].output.splitlines()) for name, each in found.items()}
    lines["flowlake hunt"] -= 1  # the header
    if len(set(lines.values())) != 1:
        raise SystemExit(f"they disagree: {lines}")
    rows = []
    for name, each in found.items():
        times = ["", ""]
        if each is not ours:
            times = [middle(ratios(clock(each), clock(ours)), 1) for clock in (walls, cpus)]
        memory = f"{peak(each):,.0f}"
        rows.append([name, middle(walls(each)), middle(cpus(each)), memory, *times])
    columns = ["", "seconds", "processor seconds", "memory, MB"]
    columns += ["FlowLake is … times as fast", "… of the processor"]
    return "\n".join(
        [
            f"## One address in {objects * records:,} records, as text and as a lake",
            "",
            f"{objects} objects, {size:,.0f} MB of gzip, on a local disk; "
            f"{lines['flowlake hunt']} records have the address. Whole processes in turn, medians "
            f"of {runs} (least to most). Converting took {converted.wall:.1f} s, once, and "
            f"{converted.cpu:.1f} of a processor.",
            *table(columns, rows),
            "",
        ]
    )
