"""A lake on S3 by DuckDB's httpfs, which is installed here from the file that a wheel has of it."""

import importlib.util
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import flowlake as fl
from flowlake.cli import app
from flowlake.doors import HTTPFS, PYARROW, collect, reads_s3
from flowlake.errors import LakeError, UsageError
from flowlake.samples import write_sample
from flowlake.storage import delta_options, open_storage

from .conftest import KEY, SECRET, use_key
from .test_asking_only import quoted

SUMS = (
    "SELECT account_id, region, date, action, count(*) AS records, sum(bytes) AS bytes, "
    "min(start_time) AS first, count(DISTINCT srcaddr) AS sources "
    "FROM flows GROUP BY ALL ORDER BY ALL"
)
WINDOW = {"since": "2026-01-14T23:00Z", "until": "2026-01-15T01:00Z", "region": "us-east-1"}


@pytest.fixture
def httpfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where DuckDB finds httpfs."""
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    versions = [Path(place) for place in (found and found.submodule_search_locations) or ()]
    name = Path("extensions", f"v{duckdb.__version__}", "httpfs.duckdb_extension")
    files = [place / name for place in versions if (place / name).exists()]
    if not files:
        pytest.skip(f"no wheel with httpfs for DuckDB {duckdb.__version__} is installed")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with duckdb.connect() as connection:
        connection.execute(f"INSTALL '{files[0]}'")
    return home


@pytest.fixture
def lake(s3: str) -> fl.Lake:
    """A sample's, below a name that has to be quoted, in SQL and in a URL."""
    write_sample(open_storage(s3), f"{s3}/raw/", hours=1, records_per_object=40)
    place = f"{s3}/it's a + lake"
    fl.convert(f"{s3}/raw", lake=place, workers=1)
    return fl.open_lake(place)


def test_the_answers_are_those_of_pyarrow(
    lake: fl.Lake, httpfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers() -> list[pl.DataFrame]:
        asked = [lake.sql(SUMS), lake.sql(SUMS, **WINDOW), lake.sql("FROM transit_gateway_flows")]
        asked += [lake.query(name, **WINDOW) for name in ("top_talkers", "new_destinations")]
        asked += [lake.hunt("10.0.0.0/8", top=None), lake.hunt("203.0.113.1", summary=True)]
        return [collect(each) for each in asked]

    assert lake.door() == HTTPFS
    explained = CliRunner().invoke(app, ["sql", SUMS, "--lake", lake.url, "--explain"])
    assert f"Read by {HTTPFS}." in explained.stdout
    by_httpfs = answers()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lake.door() == PYARROW
    for mine, theirs in zip(by_httpfs, answers(), strict=True):
        assert_frame_equal(mine, theirs, check_exact=True)


def test_a_connection_reads_the_live_files_alone(lake: fl.Lake, httpfs: Path, s3: str) -> None:
    open_storage(s3).put(f"{s3}/other.txt", b"not the lake's")
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) > 0 FROM flows").fetchall() == [(True,)]
        for statement in (
            f"FROM read_text('{s3}/other.txt')",
            f"FROM glob('{s3}/*')",
            "FROM read_text('/etc/hostname')",
            "FROM duckdb_secrets(redact = false)",
            "SET allow_unredacted_secrets = true",
            f"COPY (SELECT 1) TO '{s3}/new.csv'",
        ):
            with pytest.raises(duckdb.Error, match=r"disabled|Cannot"):
                connection.execute(statement)
        over = f"WITH a AS (COPY (SELECT 1) TO '{quoted(lake.files()[0])}') FROM a"
        with pytest.raises(UsageError, match=r"one SELECT statement|A CTE needs a SELECT"):
            lake.sql(over)
        secrets = str(connection.sql("FROM duckdb_secrets()").fetchall())
    assert KEY in secrets
    assert SECRET not in secrets


def test_a_secret_is_made_of_our_settings(
    lake: fl.Lake, httpfs: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with duckdb.connect() as connection:
        connection.execute("LOAD httpfs")
        connection.execute(f"CREATE PERSISTENT SECRET kept (TYPE s3, SCOPE '{s3}')")
        assert connection.sql("SELECT name FROM duckdb_secrets()").fetchall() == [("kept",)]
    assert collect(lake.sql("SELECT count(*) AS flows FROM flows"))["flows"][0] > 0
    monkeypatch.setenv("AWS_SESSION_TOKEN", "it's-a-token")
    use_key(monkeypatch, "it's-a-key", SECRET)
    with duckdb.connect(config={"allow_persistent_secrets": False}) as connection:
        assert reads_s3(connection, delta_options(lake.url, fl.Access(request_payer=True)))
        [(text,)] = connection.sql("SELECT secret_string FROM duckdb_secrets()").fetchall()
    assert "it's-a-token" not in text
    for word in ("key_id=it's-a-key", "session_token=redacted", "requester_pays=true"):
        assert word in text


def test_a_file_that_is_gone(lake: fl.Lake, httpfs: Path, s3: str) -> None:
    open_storage(s3).delete(lake.files())
    with pytest.raises(LakeError, match="run `flowlake verify`"):
        lake.sql("SELECT sum(bytes) FROM flows")
