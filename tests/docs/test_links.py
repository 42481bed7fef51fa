"""Links between pages lead somewhere, and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import DOCS, PAGES, ROOT

LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The names that headings get, as GitHub makes them."""
    titles = HEADING.findall(CODE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_table_of_contents() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    assert set(DOCS.rglob("*.md")) - linked == {DOCS / "README.md"}


def test_pages_lie_in_one_of_the_five_kinds() -> None:
    kinds = {path.relative_to(DOCS).parts[0] for path in DOCS.rglob("*.md")}
    assert kinds == {"README.md", "getting-started", "guides", "concepts", "reference", "development"}
