"""Reports: what stands on the page without a browser, and what it does in a real one."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair
import polars as pl
import pytest

import flowlake
from flowlake.catalog import questions
from flowlake.errors import LakeError, StorageError, UsageError, visible
from flowlake.interfaces import INVENTORY, keep
from flowlake.query_file import Amount, Drawing, parse_query
from flowlake.rendering import TABLE_ROWS
from flowlake.report import page as pages
from flowlake.report.answers import reported
from flowlake.report.charts import charts
from flowlake.report.findings import found as findings_in
from flowlake.window import window
from tests.test_cli import Run, bucket, lake, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["bucket", "lake", "run"]

SINCE = "2026-01-14T22:00Z"
MOST_BYTES = 5_000_000

SCRIPT = "<script>window.owned=1</script>"
CLOSING = "</script><script>window.owned=2</script>"
QUOTES = "\"'<!--]]>\u2028<img/src=x/onerror=window.owned=3>"
ADDRESS = "javascript:window.owned=4"
TITLE = f"{SCRIPT} {CLOSING} {QUOTES} & $title"

HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start "
    "end action log-status vpc-id subnet-id instance-id tcp-flags flow-direction"
)
START = 1768428000
"""2026-01-14T22:00:00Z."""


class Elements(HTMLParser):
    """The elements of a page: each tag with its attributes, and the text within scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data

    @property
    def specs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def made(lake: Path, target: Path, **options: Any) -> str:
    """The page of a lake, of which nothing failed."""
    written = flowlake.write_report(flowlake.open_lake(lake), target, **options)
    assert written.failed == ()
    assert written.bytes == target.stat().st_size
    return target.read_text()


def section(html: str, name: str) -> str:
    found = re.search(rf'<article id="{name}">.*?</article>', html, re.DOTALL)
    assert found is not None, f"no section {name}"
    return found[0]


def lake_of(folder: Path, header: str, *lines: str) -> Path:
    """A lake of one object with these lines."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    (raw / "one.log").write_text("\n".join([header, *lines]) + "\n")
    flowlake.convert(raw, lake=folder / "lake", workers=1)
    return folder / "lake"


@pytest.fixture(scope="module")
def html(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sample lake's page."""
    return made(lake, tmp_path_factory.mktemp("report") / "report.html", since=SINCE)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of records whose texts want to be more than text."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = [SCRIPT, CLOSING, QUOTES, ADDRESS]
    lines = [
        f"5 123456789012 {text} {text} 203.0.113.{n} 40000 {n} 6 10 {4000 * (10 - n)} "
        f"{START + 60 * n} {START + 60 * n + 59} {'REJECT' if n % 2 else 'ACCEPT'} OK "
        f"{text} {text} {text} 2 egress"
        for n, text in enumerate([*texts, "10.0.0.1", "10.0.0.2", "10.0.0.10"])
    ]
    place = lake_of(folder, HEADER, *lines)
    made(place, folder / "report.html", title=TITLE)
    return folder / "report.html"


def test_every_question_that_opted_in_has_its_section(html: str) -> None:
    names = [query.name for _, query in reported()]
    assert set(names) == {each.name for each in questions() if each.query.report}
    assert re.findall(r'<article id="(\w+)">', html) == [*names, "alarms"]
    links = re.findall(r'<li><a href="#(\w+)" class="(\w*)">', html)
    assert [name for name, _ in links] == [*names, "alarms"]
    for _, query in reported():
        text = section(html, query.name)
        assert f">{query.title}</a></h3>" in text
        assert f"<code>flowlake query {query.name} -" in text
        assert "notice failed" not in text


def test_numbers_are_those_of_the_queries(html: str, lake: Path) -> None:
    opened = flowlake.open_lake(lake)
    for name in ("top_talkers", "rejected_sources", "egress_destinations"):
        answer = opened.query(name, since=SINCE).pl()
        text = section(html, name)
        for number in answer["bytes"]:
            assert f'<td class="number" data-v="{number}"' in text
        assert text.count("<tr>") == answer.height + 1
    traffic = opened.query("traffic_over_time", since=SINCE).pl()
    assert f'title="{traffic["bytes"].sum():,} bytes"' in html
    assert f"<strong>{traffic['flows'].sum():,}</strong>" in html
    assert f"<strong>{traffic['rejected'].sum():,}</strong>" in html


def test_its_commands_give_the_same(html: str, run: Run) -> None:
    for name in ("traffic_over_time", "rejected_ports", "coverage_gaps"):
        (command,) = re.findall("<code>(flowlake query .*?)</code>", section(html, name))
        words = shlex.split(command.replace("&#x27;", "'"))
        done = run(*words[1:], "--format", "json")
        assert done.code == 0, done.err
        values = re.findall(r"<tr><td.*", section(html, name))
        assert len(values) == min(len(json.loads(done.out)), TABLE_ROWS) > 0


def test_it_needs_nothing_else_and_says_so(html: str) -> None:
    page = Elements(html)
    assert len(html) < MOST_BYTES
    assert len(page.scripts) == 3
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#"), tag
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
    (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_every_chart_is_valid_and_in_utc(html: str) -> None:
    specs = Elements(html).specs
    assert {"traffic_over_time-chart-0", "traffic_over_time-chart-1", "top_talkers-chart-0"} <= set(
        specs
    )
    for place, spec in specs.items():
        assert f'id="{place}"' in html
        altair.Chart.from_dict(spec, validate=True)
    axes = re.findall(
        r'"type":"temporal"(,"scale":\{"type":"utc"\})?', json.dumps(specs).replace(" ", "")
    )
    assert axes
    assert all(axes)


def test_hostile_text_is_text(hostile: Path) -> None:
    html = hostile.read_text()
    page = Elements(html)
    assert len(page.scripts) == 3
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "&lt;script&gt;window.owned=1&lt;/script&gt;" in section(html, "top_talkers")
    labels = [each["label"] for each in page.specs["top_talkers-chart-0"]["data"]["values"]]
    texts = [SCRIPT, CLOSING, visible(QUOTES), ADDRESS]
    assert labels == [*texts, "10.0.0.1", "10.0.0.2", "10.0.0.10"]
    assert "<" not in page.scripts[0]
    assert not [a for _, a in page.tags if any("owned" in (v or "") for v in a.values())]


def test_missing_fields_are_named(tmp_path: Path) -> None:
    place = lake_of(
        tmp_path,
        " ".join(HEADER.split()[:14]),
        f"2 123456789012 eni-1 10.0.0.1 203.0.113.5 40000 443 6 10 4000 {START} {START + 59} "
        "ACCEPT OK",
    )
    html = made(place, tmp_path / "report.html")
    for name, field in (("tcp_flags_breakdown", "tcp_flags"), ("top_vpcs", "vpc_id")):
        text = section(html, name)
        assert f"No record of this window has {field}, which this question needs" in text
        assert "<table>" not in text
        assert "chart" not in text
    assert "with --since" in section(html, "new_destinations")
    assert "203.0.113.5" in section(html, "egress_destinations")


def test_a_window_without_records(lake: Path, tmp_path: Path) -> None:
    html = made(lake, tmp_path / "report.html", since="2030-01-01", title="Nothing")
    assert "No rows." in section(html, "top_talkers")
    assert "<title>Nothing</title>" in html
    assert Elements(html).specs == {}


def test_a_lake_without_records(tmp_path: Path) -> None:
    place = lake_of(tmp_path, HEADER)
    html = made(place, tmp_path / "report.html")
    assert "No rows." in section(html, "top_talkers")
    assert "0 rows in 0 files" in html


def own(folder: Path, name: str, sql: str, report: str = "bytes by srcaddr") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.sql").write_text(
        f"-- name: {name}\n-- title: Of my own\n-- description: Mine. Only mine.\n"
        f"-- returns: srcaddr VARCHAR, bytes BIGINT\n-- report: {report}\n{sql}\n"
    )
    return folder


def test_a_question_that_fails_spoils_no_other(run: Run, lake: Path, tmp_path: Path) -> None:
    folder = own(tmp_path / "own", "broken", "SELECT srcaddr, srcaddr::BIGINT AS bytes FROM flows")
    own(folder, "odd", "SELECT srcaddr, sum(bytes) AS bytes FROM flows GROUP BY srcaddr")
    own(folder, "mine", "SELECT srcaddr, sum(bytes)::BIGINT AS bytes FROM flows GROUP BY srcaddr")
    done = run("report", "r.html", "--lake", lake, "--since", SINCE, "--queries", folder)
    assert done.code == 1
    assert "Wrote r.html" in done.out
    assert "broken failed: DuckDB refuses the statement: Conversion Error" in done.err
    assert "'returns' is not what the SQL gives: srcaddr VARCHAR, bytes HUGEINT." in done.err
    html = Path("r.html").read_text()
    assert "<b>This question failed.</b>" in section(html, "broken")
    assert '<b>Not everything could be answered:</b> <a href="#broken">' in html
    assert "<h2>Your own questions</h2>" in html
    mine = section(html, "mine")
    assert 'id="mine-chart-0"' in mine
    assert f"--queries {folder}" in mine
    assert "<table>" in section(html, "top_talkers")


def test_options_reach_the_questions(run: Run, lake: Path, tmp_path: Path) -> None:
    words = ("--lake", lake, "--since", SINCE, "--account", "123456789010", "--region", "eu-west-1")
    done = run("report", "r.html", *words, "--internal", "203.0.113.0/24", "--title", "A & B")
    assert done.code == 0, done.err
    html = Path("r.html").read_text()
    assert "<h1>A &amp; B</h1>" in html
    text = section(html, "egress_destinations")
    assert (
        "--account 123456789010 --region eu-west-1 --internal 203.0.113.0/24"
        in text.replace("--internal 203.0.113.0/24 --lake", "--lake")
        or "--internal 203.0.113.0/24" in text
    )
    answer = flowlake.open_lake(lake).query(
        "egress_destinations",
        since=SINCE,
        account="123456789010",
        region="eu-west-1",
        internal=["203.0.113.0/24"],
    )
    for address, amount in answer.pl().select("dstaddr", "bytes").iter_rows():
        assert not address.startswith("203.0.113.")
        assert address in text
        assert f'data-v="{amount}"' in text


def test_names_by_the_inventory(run: Run, lake: Path, tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(lake, place)
    done = run("report", "r.html", "--lake", place, "--names")
    assert done.code == 1
    assert "The lake has no inventory" in done.err
    assert not Path("r.html").exists()
    top = flowlake.open_lake(place).query("top_interfaces", since=SINCE, top=1).pl()
    row: dict[str, Any] = {**dict.fromkeys(INVENTORY), "addresses": [], "tags": [], "gone": False}
    known = {"interface_id": top["interface_id"][0], "name": "web <1>", "source": "test"}
    taken = {"taken_at": pl.Series([START]).cast(pl.Datetime("ms", "UTC"))[0]}
    keep(str(place), pl.DataFrame([row | known | taken], schema=INVENTORY))
    assert run("report", "r.html", "--lake", place, "--since", SINCE, "--names").code == 0
    html = Path("r.html").read_text()
    text = section(html, "top_interfaces")
    assert "<td>web &lt;1&gt;</td>" in text
    assert "--names" in text
    values = Elements(html).specs["top_interfaces-chart-0"]["data"]["values"]
    assert values[0]["label"] == f"{top['interface_id'][0]} (web <1>)"


ALARMS = """
[[alarm]]
name = "<b>who</b> reaches https"
kind = "watched_port"
ports = [443]
targets = ["private"]
severity = "high"
"""


def count(lake: Path, **options: Any) -> int:
    """How many findings a report on this window shows."""
    rows = findings_in(flowlake.open_lake(lake), window(**options)).rows
    assert rows is not None
    return rows.height


def test_findings_come_first(run: Run, lake: Path, tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(lake, place)
    (tmp_path / "alarms.toml").write_text(ALARMS)
    assert run("alarms", "run", "--lake", place).code == 3
    found = flowlake.open_lake(place).findings()
    html = made(place, tmp_path / "r.html")
    assert re.findall(r'<article id="(\w+)">', html)[0] == "alarms"
    text = section(html, "alarms")
    assert text.count("<tr>") == found.height + 1
    assert "&lt;b&gt;who&lt;/b&gt; reaches https" in text
    assert f"<strong>{found.height:,}</strong><span>{found.height:,} high</span>" in html
    (place_of, spec) = next(iter(Elements(html).specs.items()))
    assert place_of == "alarms-chart-0"
    assert spec["mark"]["type"] == "rule"
    first, last = found["first_seen"].min(), found["last_seen"].max()
    assert count(place, since=last) > 0
    assert count(place, account=found["account_ids"][0][0], region=found["regions"][0][0]) > 0
    assert count(place, account="999999999999") == count(place, region="eu-north-1") == 0
    assert count(place, since="2026-01-16") == 0
    assert count(place, until=first) == 0


def test_without_the_package_it_names_the_extra(
    run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.vega_script.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    done = run("report", "r.html", "--lake", lake)
    assert done.code == 2
    assert "pip install 'flowlake[report]'" in done.err
    assert not Path("r.html").exists()


def test_places_that_cannot_be_written(lake: Path, tmp_path: Path) -> None:
    opened = flowlake.open_lake(lake)
    with pytest.raises(UsageError, match="There is no folder"):
        flowlake.write_report(opened, tmp_path / "none" / "r.html")
    with pytest.raises(UsageError, match="is a folder: name a file"):
        flowlake.write_report(opened, tmp_path)
    with pytest.raises(UsageError, match="not a network"):
        flowlake.write_report(opened, tmp_path / "r.html", internal=["10.0.0.0/99"])
    with pytest.raises(StorageError, match="cannot be written"):
        flowlake.write_report(opened, tmp_path / ("r" * 250), since="2030-01-01")
    assert list(tmp_path.iterdir()) == []


RETURNS = (
    "-- returns: begun TIMESTAMPTZ, till TIMESTAMPTZ, name VARCHAR, kind VARCHAR, bytes BIGINT, "
    "flows BIGINT, bad BIGINT\n"
)
SQL = "SELECT start_time AS begun FROM flows"


def drawing(report: str, params: str = "", sql: str = SQL) -> Drawing | None:
    text = (
        f"-- name: q\n-- title: Q\n-- description: Q.\n{params}{RETURNS}-- report: {report}\n{sql}"
    )
    return parse_query(text, Path("q.sql")).report


def test_the_ways_to_draw() -> None:
    assert drawing("table") == Drawing()
    assert drawing("bytes by name") == Drawing((Amount("bytes"),), None, ("name",))
    assert drawing("bytes,flows of which bad by name , kind") == Drawing(
        (Amount("bytes"), Amount("flows", "bad")), None, ("name", "kind")
    )
    over_time = Drawing((Amount("bytes"),), None, ("begun",), True)
    assert drawing("bytes by begun") == over_time
    for report in ("table", "bytes, flows of which bad by name, kind", "begun to till by name"):
        assert str(drawing(report)) == report
    assert drawing("begun to till by name") == Drawing((), ("begun", "till"), ("name",))


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        ("bar", "is 'AMOUNT"),
        ("bytes", "is 'AMOUNT"),
        ("bytes by", "is 'AMOUNT"),
        ("bytes flows by name", "is 'AMOUNT"),
        ("begun to till, bytes by name", "is 'AMOUNT"),
        ("octets by name", "the answer has no column octets"),
        ("bytes by address", "the answer has no column address"),
        ("flows of which good by name", "the answer has no column good"),
        ("kind by name", "kind is no number"),
        ("begun by name", "begun is no number"),
        ("bytes to flows by name", "bytes, flows is no TIMESTAMP"),
        ("bytes by begun, name", "a time stands alone"),
        ("begun to till by begun", "a time stands alone"),
    ],
)
def test_a_wrong_report_says_where(report: str, complaint: str) -> None:
    with pytest.raises(LakeError, match=rf"q.sql:5: report.*{re.escape(complaint)}"):
        drawing(report)


def test_a_question_without_a_default_cannot_take_part() -> None:
    with pytest.raises(LakeError, match=r"q\.sql:6: report: nobody gives it who"):
        drawing("table", "-- param: who VARCHAR -- whom\n", f"{SQL} WHERE srcaddr = $who")


Rows = Callable[..., pl.DataFrame]


def times(*hours: int) -> pl.Series:
    return pl.Series([(START + 3600 * hour) * 1000 for hour in hours]).cast(
        pl.Datetime("ms", "UTC")
    )


def test_equal_labels_are_told_apart() -> None:
    rows = pl.DataFrame({"name": ["a", "a", None], "bytes": [3, 2, 1]})
    ((spec, remark),) = charts(Drawing((Amount("bytes"),), None, ("name",)), rows, {})
    assert [each["label"] for each in spec["data"]["values"]] == ["a (1)", "a (2)", "none"]
    assert remark == ""


def test_nothing_is_drawn_of_nothing() -> None:
    rows = pl.DataFrame({"name": ["a"], "bytes": [0], "flows": pl.Series([None], dtype=pl.Int64)})
    assert charts(Drawing((Amount("bytes"), Amount("flows")), None, ("name",)), rows, {}) == []
    assert charts(Drawing(), rows, {}) == []
    assert charts(Drawing((Amount("bytes"),), None, ("name",)), rows.clear(), {}) == []


def test_what_is_no_time_or_no_number_is_left_out() -> None:
    amounts = [1.0, float("inf"), float("nan"), None, 2.0]
    rows = pl.DataFrame({"at": times(0, 1, 2, 3, 4), "bytes": amounts, "name": list("abcde")})
    rows = rows.vstack(pl.DataFrame({"at": [None], "bytes": [3.0], "name": ["f"]}, rows.schema))
    ((spec, _),) = charts(Drawing((Amount("bytes"),), None, ("at",), True), rows, {})
    assert [each["high"] for each in spec["data"]["values"]] == [1.0, 2.0]
    assert spec["data"]["values"][0]["to"] == (START + 4 * 3600) * 1000  # the next one's start
    ((spec, _),) = charts(Drawing((Amount("bytes"),), None, ("name",)), rows, {})
    assert [each["label"] for each in spec["data"]["values"]] == ["a", "e", "f"]
    assert charts(Drawing((Amount("bytes"),), None, ("at",), True), rows.tail(1), {}) == []


def test_a_part_stands_on_the_rest() -> None:
    rows = pl.DataFrame({"name": ["a"], "flows": [10], "bad": [4]})
    ((spec, _),) = charts(Drawing((Amount("flows", "bad"),), None, ("name",)), rows, {})
    values = [(each["kind"], each["low"], each["high"]) for each in spec["data"]["values"]]
    assert values == [("not bad", 0, 6), ("bad", 6, 10)]


def test_bars_are_few_and_say_what_is_left_out() -> None:
    rows = pl.DataFrame({"name": [f"n{n}" for n in range(25)], "bytes": list(range(25, 0, -1))})
    ((spec, remark),) = charts(Drawing((Amount("bytes"),), None, ("name",)), rows, {})
    assert len(spec["data"]["values"]) == 20
    assert remark == "Drawn are the first 20 of 25 rows."


def test_a_time_far_from_all_others_does_not_squeeze_them() -> None:
    rows = pl.DataFrame({"at": times(-90_000, 0, 1, 2, 3), "bytes": [1, 2048, 1, 1, 1]})
    ((spec, remark),) = charts(
        Drawing((Amount("bytes"),), None, ("at",), True), rows, {"minutes": 60}
    )
    values = spec["data"]["values"]
    assert [each["from"] for each in values] == [(START + 3600 * n) * 1000 for n in range(4)]
    assert values[0]["to"] - values[0]["from"] == 3_600_000
    assert values[0]["high"] == 2.0
    assert spec["encoding"]["y"]["axis"]["title"] == "bytes, KiB"
    assert values[0]["tip"] == (
        "2026-01-14 22:00 to 2026-01-14 23:00 UTC\nbytes: 2.0 KiB (2,048 bytes)"
    )
    assert remark == "Not drawn, being far from the others: 2015-10-09 22:00."


def test_spans_of_one_thing_share_a_line() -> None:
    rows = pl.DataFrame({"name": ["a", "b", "a"], "at": times(0, 1, 2), "till": times(1, 1, 3)})
    ((spec, _),) = charts(Drawing((), ("at", "till"), ("name",)), rows, {})
    assert [each["label"] for each in spec["data"]["values"]] == ["a", "b", "a"]
    assert spec["height"] == 40


CHROMIUM = shutil.which("chromium")
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
browsing = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield chromium
        chromium.close()


Visit = Callable[..., "Page"]


@pytest.fixture
def visit(browser: "Browser", hostile: Path) -> Iterator[Visit]:
    """Open the page and wait until all is drawn; nothing may be complained of or asked for."""
    contexts, asked, said = [], [], []

    def visit(width: int = 1300, colours: str = "light") -> "Page":
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=colours,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(hostile.as_uri())
        page.wait_for_selector("html[data-drawn=all]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == {hostile.as_uri()}


def column(page: "Page", name: str, number: int) -> list[str]:
    shown = f"#{name} tbody tr:not([hidden]) td:nth-child({number})"
    return page.locator(shown).all_inner_texts()


class TestInABrowser:
    pytestmark = browsing

    def test_every_chart_is_drawn(self, visit: Visit) -> None:
        page = visit()
        places = page.locator(".chart")
        assert places.count() == len(Elements(page.content()).specs) > 10
        drawn = "charts => charts.map(c => c.querySelectorAll('.mark-rect path').length)"
        assert min(places.evaluate_all(drawn)) > 0
        assert not [text for text in places.all_inner_texts() if "could not be drawn" in text]

    def test_hostile_text_is_inert(self, visit: Visit) -> None:
        page = visit()
        assert page.title() == TITLE
        assert page.locator("h1").inner_text() == TITLE
        assert page.evaluate("window.owned") is None
        bar = page.locator("#top_talkers .mark-rect path").nth(1)
        bar.hover()
        tip = page.locator("#tip")
        assert tip.inner_text().startswith(f"{CLOSING}\nbytes: ")
        assert page.locator("#tip *").count() == 0
        bar.click()
        assert column(page, "top_talkers", 1) == [CLOSING]
        assert page.evaluate("window.owned") is None

    def test_a_table_is_sorted(self, visit: Visit) -> None:
        page = visit()
        amounts = column(page, "top_talkers", 2)
        head = page.locator("#top_talkers th").nth(1)
        for direction, expected in (("descending", amounts), ("ascending", amounts[::-1])):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == direction
            assert column(page, "top_talkers", 2) == expected
        page.locator("#top_talkers th button").first.focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "none"
        addresses = [each for each in column(page, "top_talkers", 1) if each.startswith("10.")]
        assert addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.10"]

    def test_a_table_is_searched(self, visit: Visit) -> None:
        page = visit()
        field = page.get_by_label("Search in Top talkers")
        field.fill("10.0.0.1")
        assert column(page, "top_talkers", 1) == ["10.0.0.1", "10.0.0.10"]
        assert page.locator("#top_talkers .count").inner_text() == "2 of 7 rows"
        field.fill("")
        assert page.locator("#top_talkers .count").inner_text() == "7 rows"

    def test_light_and_dark(self, visit: Visit) -> None:
        page = visit(colours="dark")
        colour = "path => getComputedStyle(path).fill"
        bar = page.locator("#top_talkers .mark-rect path").first
        ground = "getComputedStyle(document.body).backgroundColor"
        dark, dark_ground = bar.evaluate(colour), page.evaluate(ground)
        page.get_by_role("button", name="Show in light colours").click()
        light = bar.evaluate(colour)
        assert light != dark
        assert page.evaluate(ground) != dark_ground
        assert page.get_by_role("button", name="Show in dark colours").is_visible()
        page.emulate_media(media="print")
        assert bar.evaluate(colour) == light
        assert not page.locator("nav").is_visible()

    def test_a_phone_shows_all_of_its_width(self, visit: Visit) -> None:
        page = visit(width=360)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert not page.locator("nav li").first.is_visible()
        page.get_by_text("Contents", exact=True).click()
        assert page.locator("nav li").first.is_visible()
