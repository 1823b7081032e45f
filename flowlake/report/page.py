"""The page: sections, figures and charts as one HTML file that needs nothing else.

Everything that comes from a lake or a caller is escaped here, as text or as JSON, and nothing of it
stands in a script, a style or an address. The page's policy forbids the browser all requests, and
all scripts but the two that are told by their hashes.
"""

import base64
import functools
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import Any

from flowlake.errors import UsageError
from flowlake.report.answers import Section
from flowlake.report.charts import Spec, charts
from flowlake.report.headline import Figure
from flowlake.report.tables import is_narrow, table

SENTENCE = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<=\.)\s+")
REFUSALS = "What was refused"


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows."""

    title: str
    about: Sequence[tuple[str, str]]
    """Facts under the title: the name of each, and what it is."""
    figures: Sequence[Figure]
    sections: Sequence[Section]
    foot: str
    version: str


def html(page: Page) -> str:
    """The page as HTML.

    Raises:
        UsageError: when the package with the charts' scripts is not installed.
    """
    vega, script = _inline(vega_script()), _inline(_asset("page.js"))
    specs: dict[str, Spec] = {}
    chapters = [
        f"<section><h2>{escape(chapter)}</h2>\n"
        + "\n".join(_article(each, specs) for each in sections)
        + "\n</section>"
        for chapter, sections in _chapters(page.sections)
    ]
    return Template(_asset("page.html")).substitute(
        policy=_policy(vega, script),
        version=escape(page.version),
        title=escape(page.title),
        about=" · ".join(f"{escape(name)} <b>{escape(what)}</b>" for name, what in page.about),
        style=_asset("page.css"),
        notices=_notices(page.sections),
        figures="\n".join(map(_figure, page.figures)),
        contents="\n".join(_contents(*each) for each in _chapters(page.sections)),
        chapters="\n".join(chapters),
        foot=escape(page.foot),
        charts=as_json(specs),
        vega=vega,
        script=script,
    )


@functools.cache
def vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert-python.

    Raises:
        UsageError: when that is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UsageError(
            "A report's charts need a package that is not installed: "
            "pip install 'flowlake[report]'."
        ) from error
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def as_json(value: Mapping[str, Any]) -> str:
    """JSON that can stand in an HTML file: ASCII, and no character that could end its element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """A script that can stand in an HTML file; only in its strings can these characters be."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(*scripts: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _chapters(sections: Iterable[Section]) -> list[tuple[str, list[Section]]]:
    found: dict[str, list[Section]] = {}
    for each in sections:
        found.setdefault(each.chapter, []).append(each)
    return list(found.items())


def _notices(sections: Iterable[Section]) -> str:
    failed = [each for each in sections if each.failed]
    if not failed:
        return ""
    links = ", ".join(f'<a href="#{escape(each.name)}">{escape(each.title)}</a>' for each in failed)
    return f'<p class="notice failed"><b>Not everything could be answered:</b> {links}.</p>'


def _figure(figure: Figure) -> str:
    title = f' title="{escape(figure.exact)}"' if figure.exact else ""
    inner = (
        f"<span>{escape(figure.label)}</span><strong{title}>{escape(figure.value)}</strong>"
        f"<span>{escape(figure.remark) or '&nbsp;'}</span>"
    )
    alert = ' class="alert"' if figure.alert else ""
    if not figure.section:
        return f"<li{alert}><div>{inner}</div></li>"
    return f'<li{alert}><a href="#{figure.section}">{inner}</a></li>'


def _contents(chapter: str, sections: Iterable[Section]) -> str:
    links = []
    for each in sections:
        state = (
            "failed" if each.failed else "none" if each.rows is None or each.rows.is_empty() else ""
        )
        links.append(
            f'<li><a href="#{escape(each.name)}" class="{state}">{escape(each.title)}</a></li>'
        )
    return f"<h2>{escape(chapter)}</h2><ol>{''.join(links)}</ol>"


def _article(section: Section, specs: dict[str, Spec]) -> str:
    """A section; its charts go into `specs` by the id of the element that shows them."""
    name = escape(section.name)
    parts = [
        f'<article id="{name}"><h3><a href="#{name}">{escape(section.title)}</a></h3>',
        _about(section.description),
    ]
    if section.rows is None:
        parts.append(
            f'<p class="notice{" failed" if section.failed else ""}">'
            f"{'<b>This question failed.</b> ' if section.failed else ''}"
            f"{escape(section.reason or '')}</p>"
        )
    elif section.rows.is_empty():
        parts.append(f'<p class="notice">{escape(section.reason or "No rows.")}</p>')
    else:
        drawn = []
        found = charts(
            section.drawing, section.rows, section.parameters, refused=section.chapter == REFUSALS
        )
        for number, (spec, remark) in enumerate(found):
            place = f"{section.name}-chart-{number}"
            specs[place] = {"description": section.title, **spec}
            drawn.append(f'<div class="chart" id="{escape(place)}"></div>')
            drawn += [f'<p class="remark">{escape(remark)}</p>'] if remark else []
        beside = drawn and not section.drawing.over_time and is_narrow(section.rows)
        two = " two" if beside else ""
        parts.append(
            f'<div class="side{two}">'
            + (f"<div>{''.join(drawn)}</div>" if drawn else "")
            + f"<div>{table(section.rows, section.title)}</div></div>"
        )
    parts.append(
        f'<p class="same"><code>{escape(shlex.join(section.command))}</code>'
        '<button type="button">Copy</button></p></article>'
    )
    return "\n".join(parts)


def _about(description: str) -> str:
    first, *more = SENTENCE.split(description, maxsplit=1)
    rest = f" <details><summary>…</summary> {_prose(more[0])}</details>" if more else ""
    return f'<div class="about">{_prose(first)}{rest}</div>'


def _prose(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
