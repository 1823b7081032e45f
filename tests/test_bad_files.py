"""Files that people write or fetch, damaged in every way: one clear line, or they are read."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlake.describing import read_inventory_file
from flowlake.errors import FlowLakeError
from flowlake.indicators import read_indicators
from flowlake.rules import read_rules
from flowlake.setup.baseline import read_baseline
from flowlake.storage import canonical, open_source


def listed(path: Path) -> Any:
    place = canonical(f"objects-from:{path}")
    return list(open_source(place).list(place))


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "alarms.toml": (read_rules, '[[alarm]]\nname = "a"\nkind = "port_scan"\n'),
    "baseline": (
        read_baseline,
        '{"flow_logs": [], "regions": [], '
        '"title": "flow logs as approved, by flowlake setup check --save-baseline"}',
    ),
    "indicators": (read_indicators, "203.0.113.9\neni-0a\n"),
    "inventory.csv": (read_inventory_file, "interface_id,name\neni-0a,web\n"),
    "inventory.json": (
        read_inventory_file,
        '{"NetworkInterfaces": [{"NetworkInterfaceId": "eni-0a"}]}',
    ),
    "objects": (listed, "/nowhere/a.log\n/nowhere/b.log\n"),
    "events": (listed, '{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}'),
}


def damaged(text: str) -> dict[str, bytes]:
    """What a file of this text may have become."""
    body = text.encode()
    half = len(body) // 2
    return {
        "empty": b"",
        "blank": b" \n\n\t",
        "cut": body[:half],
        "binary": bytes(range(256)) * 9,
        "NULs": b"\0" * 5000,
        "a NUL": body[:half] + b"\0" + body[half:],
        "not UTF-8": body[:half] + b"\xff" + body[half:],
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "a byte order mark": b"\xef\xbb\xbf" + body,
        "carriage returns": body.replace(b"\n", b"\r"),
        "gzip": gzip.compress(body),
        "gzip cut off": gzip.compress(body)[:-9],
        "a line of a megabyte": b"x" * (1 << 20),
        "a path of a megabyte": b"/" + b"x" * (1 << 20),
        "no such home": b"~no-such-user/x\n",
        "deep JSON": b"[" * 100_000,
        "deep objects": b'{"Records":' * 100_000,
        "deep TOML": b"a = " + b"[" * 100_000,
        "a number of 5,000 digits": b'{"Records": [' + b"9" * 5000 + b"]}",
        "a TOML number of 5,000 digits": b"a = " + b"9" * 5000,
        "another document": b"[null, 5, [], {}]",
        "null": b"null",
        "lone surrogate": body.replace(b"a", b"\\ud800"),
        "a key of half a character": body.replace(b'"k"', b'"\\ud800"'),
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(99),
        "Parquet": b"PAR1" + bytes(99) + b"PAR1",
        "ORC": b"ORC" + bytes(99),
        "HTML": b"<!doctype html><html></html>",
        "twice": body * 2,
        "reversed": body[::-1],
    }


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    read, text = READERS[name]
    path = tmp_path / name
    troubles = {}
    for damage, body in damaged(text).items():
        path.write_bytes(body)
        try:
            read(path)
        except FlowLakeError as error:
            if len(str(error)) > 700 or "\n" in str(error):
                troubles[damage] = str(error)[:200]
        except Exception as error:
            troubles[damage] = f"{type(error).__name__}: {error}"[:200]
    assert troubles == {}
