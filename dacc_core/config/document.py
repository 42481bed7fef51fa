"""A YAML file as plain values that remember their places.

PyYAML's loader would let a repeated key overwrite the first one silently and forgets where a value
stood, so this walks the composed nodes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
Place = tuple[int, int]

_PLAIN = re.compile(r"[^\s.\[\]\"]+")
_TYPED = frozenset(f"tag:yaml.org,2002:{tag}" for tag in ("null", "bool", "int", "float"))


def dotted(path: Path) -> str:
    """A path as people write it: ``bricks.dac1[0].device``, ``bricks."dac[1-4]"[0].device``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN.fullmatch(part) else f'"{part}"')
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one setting; ``on_key`` when it is the key and not its value."""

    path: Path
    text: str
    on_key: bool = False


@dataclass(frozen=True, slots=True, order=True)
class ConfigFinding:
    """A problem as people read it, sortable by its place. ``NOWHERE`` sorts last."""

    place: Place
    text: str


NOWHERE: Place = (sys.maxsize, 0)


@dataclass(slots=True)
class Document:
    """The values of a file and where they stand (line and column count from 1)."""

    name: str
    value: Any = None
    values: dict[Path, Place] = field(default_factory=dict, repr=False)
    keys: dict[Path, Place] = field(default_factory=dict, repr=False)
    findings: list[ConfigFinding] = field(default_factory=list)

    def where(self, path: Path) -> str:
        """``FILE:LINE:COLUMN`` of a setting, or of the innermost section around it that the file has."""
        return "{}:{}:{}".format(self.name, *self._place(path))

    def add(self, problem: Problem) -> None:
        """Note a problem with a setting at the place of its value, or of its key."""
        on_key = problem.on_key and problem.path in self.keys
        self.note(self.keys[problem.path] if on_key else self._place(problem.path), problem.path, problem.text)

    def note(self, place: Place, path: Path, text: str) -> None:
        """Note a problem at a place."""
        where = "{}:{}:{}".format(self.name, *place)
        self.findings.append(ConfigFinding(place, ": ".join(filter(None, (where, dotted(path), text)))))

    def _place(self, path: Path) -> Place:
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))


def read(text: str, name: str) -> Document:
    """The document in ``text``; a syntax error, a repeated key and the like are in its ``findings``."""
    document = Document(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        document.findings.append(_syntax_error(error, name))
        return document
    if node is not None:
        document.value = _Walk(document).plain(node, (), ())
    return document


def _syntax_error(error: yaml.YAMLError, name: str) -> ConfigFinding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    what = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
    return ConfigFinding(place, f"{name}:{place[0]}:{place[1]}: not YAML: {what or str(error).splitlines()[0]}")


def _mark(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Walk:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = yaml.constructor.SafeConstructor()

    def plain(self, node: yaml.Node, path: Path, around: tuple[yaml.Node, ...]) -> Any:
        self.document.values[path] = _mark(node)
        if node in around:
            self._problem(node, path, "contains itself")
            return None
        if isinstance(node, yaml.MappingNode):
            return {key: self.plain(value, (*path, key), (*around, node)) for key, value in self._pairs(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*path, index), (*around, node)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, yaml.Node]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key must be one word")
            elif key.tag == "tag:yaml.org,2002:merge":
                self._problem(key, path, "merge keys (<<) are not supported: write the settings out")
            elif key.value in first:
                self._problem(key, (*path, key.value), f"given twice, first on line {first[key.value]}: keep one")
            else:
                first[key.value] = _mark(key)[0]
                self.document.keys[(*path, key.value)] = _mark(key)
                yield key.value, value

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag not in _TYPED:  # dates and the like stay the text that was written
            return node.value
        try:
            return self.constructor.construct_object(node)
        except (ValueError, KeyError):
            self._problem(node, path, f"{node.value!r} is not what its YAML tag says")
            return None

    def _problem(self, node: yaml.Node, path: Path, text: str) -> None:
        self.document.note(_mark(node), path, text)
