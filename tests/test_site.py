"""The documentation as a site: it builds without a warning, whole, and from nowhere else."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import typer

import flowlake
from flowlake.cli import app
from flowlake.fields import FIELDS
from flowlake.queries import query_names
from website.building import FENCE, INFO, ROOT, build, nav
from website.reference import PAGES, anchor, commands

RESOURCES = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""What a browser fetches by itself when it shows a page."""


class Page(HTMLParser):
    """What a page links to, what it fetches, and the anchors and text it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors = {""}
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and (href := given.get("href")):
            self.links.append(href)
        if (fetched := given.get(RESOURCES.get(tag, ""))) and given.get("rel") != "canonical":
            self.resources.append(fetched)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_and_resource_is_in_the_site(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) >= len(list(nav()))
    for path, page in pages.items():
        where = path.relative_to(site)
        for target in [*page.links, *page.resources]:
            url, fragment = urldefrag(target)
            if re.match(r"[a-z]+:|//", url):
                assert target in page.links, f"{where}: {target} is fetched from another host"
                continue
            there = (path.parent / unquote(url)).resolve() if url else path
            assert there.is_file(), f"{where}: {target}"
            if there.suffix == ".html" and fragment:
                assert unquote(fragment) in pages[there].anchors, f"{where}: {target}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        fetched = re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", text)
        assert not fetched, f"{sheet.name}: {fetched}"


def test_what_is_for_the_tests_does_not_show(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert "```" not in page.text, path
        assert 'no-run="' not in page.text or path.name == "CONTRIBUTING.html", path


def test_commands_queries_fields_and_names_have_their_entries(
    site: Path, pages: dict[Path, Page]
) -> None:
    found = pages[site / "docs/reference/commands.html"]
    for name, command in commands(typer.main.get_command(app)):
        assert anchor(name) in found.anchors
        section = found.text.split(f"\n{name} [OPTIONS]")[1].split("[OPTIONS]")[0]
        given = [param for param in command.params if param.param_type_name == "option"]
        options = {option for param in given for option in [*param.opts, *param.secondary_opts]}
        assert options <= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section)), name
    assert {"class-" + n.lower() if n[0].isupper() else n.lower() for n in flowlake.__all__} <= (
        pages[site / "docs/reference/python.html"].anchors
    )
    assert set(query_names()) <= pages[site / "queries/index.html"].anchors
    assert all(field.column in pages[site / "docs/fields.html"].text for field in FIELDS)


def test_every_page_has_its_place_in_the_site() -> None:
    named = set(nav())
    written = {*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md",))}
    assert {path.relative_to(ROOT).as_posix() for path in written} <= named
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize("name", PAGES)
def test_pages_written_from_the_code_are_current(name: str) -> None:
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), "run make docs"


def test_fences_keep_their_language_alone() -> None:
    page = '```sh no-run="needs your buckets"\nflowlake status\n```\n\n```text\na\n```\n'
    assert INFO.sub(r"\1", page) == "```sh\nflowlake status\n```\n\n```text\na\n```\n"
    assert FENCE.sub("", page).strip() == ""
