"""The documentation as the tests see it: pages, and the code blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BOX = re.compile("[\u2500-\u257f]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")
_SECONDS = re.compile(r"\d+\.\d+ s")


@dataclass(frozen=True)
class Block:
    """A fenced block: the words behind its fence, its text, its line, and the text of a ``text`` block right below it."""

    info: str
    text: str
    line: int
    answer: str = ""


def blocks(page: Path, info: str = "") -> list[Block]:
    """The blocks of a page, or those whose fence says ``info``."""
    return [block for block in _blocks(page.read_text("utf-8")) if info in ("", block.info)]


def _blocks(text: str) -> Iterator[Block]:
    found = list(_BLOCK.finditer(text))
    for match, after in zip(found, [*found[1:], None], strict=True):
        is_answer = after is not None and after[1] == "text" and not text[match.end() : after.start()].strip()
        yield Block(match[1], match[2], text.count("\n", 0, match.start()) + 1, after[2] if after and is_answer else "")


def plain(text: str) -> str:
    """An output without what differs each time: times, dates, and the lines and blanks of tables."""
    text = _SECONDS.sub("0 s", _DATE.sub("DATE", _BOX.sub(" ", text)))
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines() if line.strip())


def shows(documented: str, output: str) -> bool:
    """Whether an output is as documented; ``…`` in a line stands for anything, alone for any lines."""
    lines = plain(documented).splitlines()
    pattern = "".join("(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in lines)
    return re.fullmatch(pattern, plain(output)) is not None
