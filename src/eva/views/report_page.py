"""HTML by construction: whatever is not `Html` is text, and is escaped where it enters a page.

A page has no script, loads nothing, and says so to the browser: even text that slipped through as
markup could not run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from eva.views.wording import cut

LONGEST = 4000
"""Characters of a prompt or answer that are shown; the run folder has all of it."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page may do: have a style, and nothing else."""

_VOID = frozenset({"meta", "br", "hr"})
# No XML or HTML text may hold these; browsers show them as nothing or as a fault.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(content: object) -> Html:
    """Return content as HTML: text is escaped, `Html` is itself.

    >>> escape('<script>"&')
    '&lt;script&gt;&quot;&amp;'
    """
    if isinstance(content, Html):
        return content
    return Html(html.escape(_CONTROL.sub("\ufffd", str(content)), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Return parts one after another, as HTML."""
    return Html(between.join(map(escape, parts)))


def element(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element. In names of attributes `_` stands for `-`, a last `_` is dropped.

    An attribute that is None or False is left out, one that is True has no value.

    >>> element("td", "a < b", class_="figure")
    '<td class="figure">a &lt; b</td>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def text(content: str, *, longest: int = LONGEST, class_: str = "text") -> Html:
    """Return what a person or model wrote, with its line breaks, cut with a notice if too long.

    It keeps its own direction of writing, which ends with it.
    """
    if not content.strip():
        return element("div", "(empty)", class_=f"{class_} muted")
    shown, notice = cut(content, longest)
    block = element("div", shown, class_=class_, dir="auto")
    return join([block, element("p", notice, class_="note")]) if notice else block


def table(
    header: Sequence[object], rows: Iterable[Sequence[object]], *, left: Sequence[int] = (0,)
) -> Html:
    """Return a table; the columns of `left` are text, all others figures."""

    def cells(kind: str, row: Sequence[object]) -> Html:
        return join(
            element(kind, cell, class_=None if i in left else "figure")
            for i, cell in enumerate(row)
        )

    head = element("thead", element("tr", cells("th", header)))
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scroll")


def details(summary: object, *content: object, opened: bool = False) -> Html:
    """Return content that folds."""
    return element("details", element("summary", summary), *content, open=opened)


def section(anchor: str, title: str, *content: object) -> Html:
    """Return a section of the page."""
    return element("section", element("h2", title), *content, id=anchor)


def note(*content: object) -> Html:
    """Return a paragraph of small print."""
    return element("p", *content, class_="note")


def chip(content: object, kind: str = "") -> Html:
    """Return a label."""
    return element("span", content, class_=f"chip {kind}".strip())


def page(title: str, header: Html, sections: Sequence[tuple[str, str, Html]]) -> str:
    """Return a whole page: sections with their anchor, title and content."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", _style()),
    )
    links = (element("a", name, href=f"#{anchor}") for anchor, name, _ in sections)
    body = element(
        "body",
        element("header", header),
        element("nav", *links),
        element("main", *(section(*parts) for parts in sections)),
    )
    return f"{MARK}\n{element('html', head, body, lang='en')}\n"


MARK = "<!doctype html>\n<!-- eva report -->"
"""How every report begins."""


@cache
def _style() -> Html:
    return Html(files("eva.views").joinpath("report.css").read_text("utf-8"))
