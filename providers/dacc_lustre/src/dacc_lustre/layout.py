"""The default layout of files: components clipped to the OSTs that there are, as arguments of ``lfs setstripe``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SIZE = re.compile(r"[1-9][0-9]*[KMGT]")
COUNT = re.compile(r"-1|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a file: up to ``end`` (``-1``: the rest) on ``count`` OSTs (-1: all; 0: on the MDT)."""

    end: str
    count: int
    size: str = ""


def parse_component(text: str) -> Component:
    """``END COUNT [STRIPE SIZE]`` or ``END mdt``. Raises ``ValueError`` naming what is wrong."""
    end, count, size = (*text.split(), "", "", "")[:3]
    right = len(text.split()) in (2, 3) and (end == "-1" or SIZE.fullmatch(end)) and (not size or SIZE.fullmatch(size))
    if right and count == "mdt" and not size and end != "-1":
        return Component(end, 0)
    if right and COUNT.fullmatch(count):
        return Component(end, int(count), size)
    raise ValueError(f"{text!r} is no component: write END COUNT [STRIPE SIZE], such as 16M 1 16M, or END mdt")


def clip(components: Sequence[Component], osts: int, data_on_mdt: bool) -> tuple[Component, ...]:
    """The components for a filesystem with so many OSTs; those that clipping made alike are one."""
    made: list[Component] = []
    for one in components:
        if not one.count and not data_on_mdt:
            continue
        count = -1 if one.count >= osts else one.count
        size = one.size
        if made and made[-1].count == count and not size:
            size = made.pop().size
        made.append(Component(one.end, count, size))
    return tuple(made)


def arguments(components: Sequence[Component]) -> list[str]:
    """What ``lfs setstripe`` takes."""
    words: list[str] = []
    for one in components:
        words += ["-E", one.end]
        words += ["-L", "mdt"] if not one.count else ["-c", str(one.count)]
        words += ["-S", one.size] if one.size else []
    return words
