"""A conversion keeps to the memory it was given, and refuses what it cannot keep to."""

import gzip
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import flowlake
from flowlake.errors import StorageError, UsageError
from flowlake.fields import DEFAULT_FORMAT
from flowlake.memory import LEAST, MIB, MOST, PROCESS, memory_of, parse_size, shared_out
from flowlake.samples import sample_objects
from flowlake.storage import Access, bucket, folder, open_storage


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 * MIB), ("1.5g", 1536 * MIB), ("2 GiB", 2048 * MIB), ("900", 900)],
)
def test_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1EB", "1 G B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size: write 512MB"):
        parse_size(text)


def test_little_memory_has_fewer_workers() -> None:
    least_of_two = 3 * PROCESS + 2 * LEAST
    assert shared_out(least_of_two, 8, processes=True) == (2, LEAST)
    assert shared_out(least_of_two - 1, 8, processes=True)[0] == 1
    assert shared_out(100 << 30, 8, processes=True) == (8, MOST)
    assert shared_out(PROCESS + LEAST, 8, processes=True) == (1, LEAST)
    assert shared_out(PROCESS + 4 * LEAST, 8, processes=False) == (4, LEAST)


def test_half_of_the_machine_unless_told() -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory_of(None) <= machine // 2
    assert memory_of("2GB") == memory_of(2 << 30) == 2 << 30


def test_too_little_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"516 MiB is the least. Give more with --memory."):
        flowlake.convert(tmp_path, lake=tmp_path / "lake", memory="300MB")
    assert not (tmp_path / "lake").exists()


def test_a_conversion_stays_below(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    objects = sample_objects(
        hours=1,
        records_per_object=60_000,
        accounts=["123456789010"],
        regions=["us-east-1"],
        formats=[DEFAULT_FORMAT],
        every=1,
    )
    for key, body in objects:
        open_storage(str(source)).put(f"{source}/{key}", body)
    command = [sys.executable, "-m", "flowlake", "convert", str(source), "--memory", "600MB"]
    process = subprocess.Popen([*command, "--lake", str(tmp_path / "lake")])
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0
    assert 100 * MIB < peak < 600 * MIB
    rows = flowlake.open_lake(tmp_path / "lake").status().rows
    assert rows > 700_000


def resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = next((int(s.split()[1]) for s in status.splitlines() if s.startswith("VmRSS")), 0)
    return own * 1024 + sum(resident(int(child)) for child in children)


def test_a_large_object_is_held_on_disk(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, bucket):
        monkeypatch.setattr(module, "LARGE", 1000)
    record = "2 123456789012 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1772366400 1772366460 ACCEPT OK\n"
    text = (" ".join(DEFAULT_FORMAT) + "\n" + record * 5000).encode()
    bodies = {"plain.log": text, "noise.log.gz": gzip.compress(os.urandom(3000)), "small.log": b"x"}
    storage = open_storage(place, Access())
    for key, body in bodies.items():
        storage.put(f"{place}/raw/{key}", body)
        held = storage.get(f"{place}/raw/{key}")
        assert isinstance(held, mmap.mmap) == (len(body) > 1000)
        assert bytes(held) == body
    report = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert report.rows == 5000


def test_no_room_for_a_large_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LARGE", 10)
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    (tmp_path / "flows.log").write_bytes(b"x" * 100)
    with pytest.raises(StorageError, match=r"into /proc: .*TMPDIR chooses another folder"):
        open_storage(str(tmp_path)).get(f"{tmp_path}/flows.log")
