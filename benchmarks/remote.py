"""Converting from S3 to S3: a real server on this machine, and the same one 30 ms away."""

import itertools
from collections.abc import Callable

from benchmarks import data, peers, server
from benchmarks.convert import OURS, compared_table, goals, same
from benchmarks.measuring import Run, flowlake, in_turn, measure
from flowlake.fields import DEFAULT_FORMAT
from flowlake.storage import Access, delta_options

BUCKET = "bench-convert"


def section(quick: bool = False) -> str:
    """Measure each kind of objects at each place, and write the page."""
    lines = [
        "## Converting, S3 to S3",
        "",
        "SeaweedFS on the same two cores, and the same server behind a proxy that holds back the "
        "beginning of each answer by 30 ms. DuckDB reads and writes through s3fs, on 16 threads; "
        "Polars by itself; the rest cannot without a download.",
        "",
    ]
    big, small = ("big objects", 8, 250_000), ("small objects", 500, 1_000)
    for what, objects, records in (big, small):
        scale = 10 if quick else 1
        if objects > 100:
            objects //= scale
        else:
            records //= scale
        made = data.raw(DEFAULT_FORMAT, objects, records)
        source = server.upload(made / "text", BUCKET, f"raw-{objects}-of-{records}")
        for place in server.PLACES:
            lines += _compared(f"{what}, {place}", place, source, objects, records, quick)
    return "\n".join(lines)


def _compared(
    what: str, place: str, source: str, objects: int, records: int, quick: bool
) -> list[str]:
    numbers = itertools.count()
    environment = server.environment(place)
    expected: tuple[int, int | None] = (objects * records, None)

    def job(name: str) -> Callable[[], Run]:
        def run() -> Run:
            nonlocal expected
            target = f"{source}-{place.split()[0]}-{name.split()[0]}-{next(numbers)}"
            own = flowlake("convert", source, "--lake", target)
            command = own if name == OURS else peers.command(name, source, target, DEFAULT_FORMAT)
            done = measure(command, environment)
            written = f"{target}/flows" if name == OURS else target
            with server.reached_from(server.PLACES[0]):
                options = delta_options(written, Access())
                expected = same(name, f"{written}/**/*.parquet", expected, options)
            return done

        return run

    runs = 1 if quick else 2 if objects > 100 else 3
    jobs = {name: job(name) for name in (OURS, *peers.REMOTE)}
    found = in_turn(runs, jobs, warm=place == server.PLACES[0])
    return [
        f"### {objects * records:,} records, {what}: {objects:,} objects",
        *compared_table(found, objects * records, objects),
        *goals(found, f"Converting on S3, {what}"),
        "",
    ]
