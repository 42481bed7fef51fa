"""Small pieces of Markdown, and docstrings as Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

_ROLE = re.compile(r":([a-z]+):`~?([^`]+)`")


def page(title: str, source: str, *parts: str) -> str:
    """A whole page. ``source`` is the code that it is made from."""
    mark = f"<!-- made from {source} by scripts/make-reference (make reference): do not edit -->"
    return "\n\n".join((mark, f"# {title}", *(textwrap.dedent(part).strip() for part in parts))) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars in its cells are made harmless."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """A piece of code, or nothing."""
    return f"`{text}`" if text else ""


def doc(thing: Any) -> str:
    """A docstring as Markdown."""
    return markdown(inspect.getdoc(thing) or "")


def markdown(text: str) -> str:
    """A text of reStructuredText's few forms that docstrings use, as Markdown."""
    roles = _ROLE.sub(_role, inspect.cleandoc(text))
    return roles.replace("``", "`")


def _role(match: re.Match[str]) -> str:
    return f"`{match[2] if match[1] == 'mod' else match[2].rpartition('.')[2]}`"


class _AsWritten:
    """Shown without the quotes that annotations have as strings."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("rq.", "")

    def __repr__(self) -> str:
        return self.text


def signature(function: Any) -> str:
    """A function's parameters and result as they are written, without the object itself."""
    found = inspect.signature(function)
    parameters = [_parameter(one) for one in found.parameters.values() if one.name not in ("self", "cls")]
    return str(found.replace(parameters=parameters, return_annotation=_AsWritten(str(found.return_annotation))))


def _parameter(one: inspect.Parameter) -> inspect.Parameter:
    default = _AsWritten(one.default.__name__) if callable(one.default) and one.default is not one.empty else one.default
    return one.replace(annotation=_AsWritten(str(one.annotation)), default=default)


def attribute_docs(thing: Any) -> dict[str, str]:
    """The strings that stand below the assignments of a class or module, by the assigned name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else tree.body
    found = {}
    for first, second in pairwise(body):
        if isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant) and isinstance(second.value.value, str):
            for target in first.targets if isinstance(first, ast.Assign) else [getattr(first, "target", None)]:
                if isinstance(target, ast.Name):
                    found[target.id] = markdown(second.value.value)
    return found
