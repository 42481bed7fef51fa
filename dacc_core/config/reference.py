"""The settings as a table, for the reference page and ``dacc``'s help."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin

from .reader import BAD, Field, fields_of, is_section, show, unwrap
from .settings import Settings


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One setting. In ``path``, ``<name>`` is what the site names and ``[]`` an item of a list. No ``default``: it must be given."""

    path: str
    type: str
    default: str
    unit: str
    text: str
    examples: tuple[str, ...] = ()


def describe(section: type = Settings, prefix: str = "") -> list[SettingDoc]:
    """Every setting of a section in the order of its class: of the configuration file, or of a provider's ``Settings``.

    What a setting means stands in its annotation, in its field's metadata (``doc``), or as a string below it.
    """
    docs = _attribute_docs(section)
    return [line for field in fields_of(section) for line in _field(field, f"{prefix}{field.name}", docs.get(field.name, ""))]


def _attribute_docs(section: type) -> dict[str, str]:
    """The strings that stand below the fields of a class, if its source is there: a provider's way to document its settings."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    docs = {}
    for field, text in pairwise(getattr(tree, "body", ())):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = " ".join(str(getattr(text.value, "value", "")).split())
    return docs


def _field(field: Field, path: str, text: str) -> Iterator[SettingDoc]:
    section, suffix = _below(field.hint)
    if section is None:
        yield _doc(field, path, text)
        return
    if suffix:  # a bare section has nothing to say of itself that its settings do not
        yield _doc(field, path, text)
    yield from describe(section, f"{path}{suffix}.")


def _below(hint: Any) -> tuple[type | None, str]:
    """The section inside a type, if any, and how a path gets there."""
    inner = unwrap(hint)[0]
    origin, args = get_origin(inner), get_args(inner)
    if is_section(inner):
        return inner, ""
    if origin in (dict, Mapping):
        section, suffix = _below(args[1])
        return section, f".<{_placeholder(args[0])}>{suffix}"
    if origin in (tuple, list, Sequence):
        section, suffix = _below(args[0])
        return section, f"[]{suffix}"
    return None, ""


def _placeholder(key: Any) -> str:
    metas = unwrap(key)[1]
    return "hosts" if any(meta.extra == {"kind": "hosts"} for meta in metas) else "name"


def _doc(field: Field, path: str, text: str) -> SettingDoc:
    texts = [meta.description for meta in field.metas if meta.description]
    examples = [str(example) for meta in field.metas for example in meta.examples or ()]
    return SettingDoc(path, _type(field), _default(field), field.note("unit") or "", texts[-1] if texts else text, tuple(examples))


def _default(field: Field) -> str:
    written = field.note("default")
    if written:
        return str(written)
    if field.default is BAD:
        return ""
    if isinstance(field.default, tuple | list):
        return f"[{', '.join(map(str, field.default))}]"
    if isinstance(field.default, Mapping):
        return "{}"
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{_bare(field.default)}`"


def _bare(value: Any) -> str:
    return value if isinstance(value, str) and value else show(value).replace("'", '"')


def _type(field: Field) -> str:
    kind = field.note("kind")
    if kind:
        return {"hosts": "set of hosts", "host": "host name", "pool": "name"}.get(kind, str(kind))
    return type_name(field.hint)


def type_name(hint: Any) -> str:
    """A type in words."""
    inner = unwrap(hint)[0]
    origin, args = get_origin(inner), get_args(inner)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in args)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(each) for each in args)
    if origin in (dict, Mapping):
        return "mapping"
    if origin in (tuple, list, Sequence):
        return "list"
    return {str: "text", int: "number", float: "number", bool: "true or false", type(None): "nothing"}.get(inner, str(inner))
