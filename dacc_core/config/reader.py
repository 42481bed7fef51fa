"""Plain values against typed classes: every problem is collected, nothing is raised.

Serves the configuration file (``msgspec.Struct`` sections) and the settings of providers
(dataclasses), so both get the same checks and the same words.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..errors import DaccError
from .document import Path, Problem
from .kinds import check

BAD: Any = object()
"""Stands for a value whose problem has been noted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One setting of a section. ``default`` is :data:`BAD` when it must be given."""

    name: str
    hint: Any
    default: Any
    metas: tuple[msgspec.Meta, ...]

    def note(self, key: str) -> Any:
        """What the annotations or the dataclass's metadata say of the setting under ``key``."""
        return _extra(self.metas, key)


def is_section(hint: Any) -> bool:
    """Whether a type is a class of settings."""
    return isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or dataclasses.is_dataclass(hint))


def fields_of(section: type) -> list[Field]:
    """The settings of a class, in the order in which it lists them."""
    hints = get_type_hints(section, include_extras=True)
    made = _dataclass_fields(section) if dataclasses.is_dataclass(section) else _struct_fields(section)
    fields = []
    for name, default, metas in made:
        hint, annotated = unwrap(hints[name])
        fields.append(Field(name, hint, default, (*annotated, *metas)))
    return fields


def _struct_fields(section: type) -> list[tuple[str, Any, tuple[msgspec.Meta, ...]]]:
    return [(field.name, _default(field, msgspec.NODEFAULT), ()) for field in msgspec.structs.fields(section)]


def _dataclass_fields(section: Any) -> list[tuple[str, Any, tuple[msgspec.Meta, ...]]]:
    # A dataclass's `field(metadata={"doc": …, "unit": …})` says what a Struct's Meta says.
    return [(field.name, _default(field, dataclasses.MISSING), (_meta(field),)) for field in dataclasses.fields(section) if field.init]


def _meta(field: dataclasses.Field[Any]) -> msgspec.Meta:
    return msgspec.Meta(description=field.metadata.get("doc"), extra=dict(field.metadata))


def _default(field: Any, missing: object) -> Any:
    if field.default_factory is not missing:
        return field.default_factory()
    return BAD if field.default is missing else field.default


def unwrap(hint: Any) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """A type without its ``Annotated``, and the annotations."""
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        return inner, tuple(meta for meta in metas if isinstance(meta, msgspec.Meta))
    return hint, ()


def _extra(metas: Sequence[msgspec.Meta], key: str) -> Any:
    return next((meta.extra[key] for meta in reversed(metas) if meta.extra and key in meta.extra), None)


def show(value: Any) -> str:
    """A value in a message, as the file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else repr(value)


def unknown(key: str, keys: Iterable[str]) -> str:
    """What to say of a key that does not exist."""
    names = list(keys)
    close = difflib.get_close_matches(key, names, n=1)
    return f"unknown key: did you mean {close[0]}?" if close else f"unknown key: known are {', '.join(names) or 'none'}"


class Reader:
    """Reads values of one document and collects its :class:`~dacc_core.config.document.Problem`\\ s."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, value: Any, hint: Any, path: Path, metas: Sequence[msgspec.Meta] = ()) -> Any:
        """``value`` as ``hint`` wants it, or :data:`BAD`."""
        inner, annotated = unwrap(hint)
        metas = (*annotated, *metas)
        origin = get_origin(inner)
        if inner is Any:
            return value
        if is_section(inner):
            return self.section(value, inner, path)
        if origin in (dict, Mapping):
            return self._mapping(value, get_args(inner), path)
        if origin in (tuple, list, Sequence):
            return self._list(value, get_args(inner)[0], origin, path)
        if origin in (Union, types.UnionType):
            return self._union(value, get_args(inner), path, metas)
        if origin is Literal:
            return self._choice(value, get_args(inner), path)
        return self._constrained(self._leaf(value, inner, path, metas), path, metas)

    def section(self, value: Any, section: type, path: Path) -> Any:
        """A section of settings; one with a bad setting keeps that one's default, so that the rest can be checked too."""
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            return self._bad(path, f"must be a mapping of settings, not {show(value)}")
        fields = {field.name: field for field in fields_of(section)}
        for key in value:
            if key not in fields:
                self.problems.append(Problem((*path, key), unknown(str(key), fields), on_key=True))
        read = {name: self._field(value, field, path) for name, field in fields.items()}
        if BAD in read.values():
            return BAD
        try:
            return section(**read)
        except (ValueError, DaccError) as error:  # a dataclass's __post_init__
            return self._bad(path, str(error))

    def _field(self, value: Mapping[str, Any], field: Field, path: Path) -> Any:
        given = value.get(field.name)
        if given is not None:
            read = self.read(given, field.hint, (*path, field.name), field.metas)
            return field.default if read is BAD else read
        if field.default is BAD:
            self._bad((*path, field.name), "is missing" if field.name not in value else "is empty")
        return field.default

    def _mapping(self, value: Any, args: tuple[Any, ...], path: Path) -> Any:
        if not isinstance(value, Mapping):
            return self._bad(path, f"must be a mapping, not {show(value)}")
        read = {}
        for key, item in value.items():
            below = (*path, key)
            name = self._key(key, args[0], below)
            content = self.read({} if item is None and not _is_list(args[1]) else item, args[1], below)
            if BAD not in (name, content):
                read[name] = content
        return read

    def _key(self, key: str, hint: Any, path: Path) -> Any:
        noted = len(self.problems)
        name = self.read(key, hint, path)
        self.problems[noted:] = [dataclasses.replace(problem, on_key=True) for problem in self.problems[noted:]]
        return name

    def _list(self, value: Any, item: Any, origin: Any, path: Path) -> Any:
        if not isinstance(value, list | tuple):
            return self._bad(path, f"must be a list, not {show(value) if value is not None else 'empty'}")
        read = [self.read(each, item, (*path, index)) for index, each in enumerate(value)]
        good = [each for each in read if each is not BAD]
        return good if origin is list else tuple(good)

    def _union(self, value: Any, members: tuple[Any, ...], path: Path, metas: Sequence[msgspec.Meta]) -> Any:
        if value is None and type(None) in members:
            return None
        tries: list[Reader] = []
        for member in members:
            if member is not type(None):
                tries.append(Reader())
                read = tries[-1].read(value, member, path, metas)
                if not tries[-1].problems:
                    return read
        self.problems += tries[0].problems
        return BAD

    def _choice(self, value: Any, allowed: tuple[Any, ...], path: Path) -> Any:
        if value in allowed and type(value) in map(type, allowed):
            return value
        names = ", ".join(map(str, allowed))
        return self._bad(path, f"must be {'one of ' if len(allowed) > 1 else ''}{names}, not {show(value)}")

    def _leaf(self, value: Any, hint: Any, path: Path, metas: Sequence[msgspec.Meta]) -> Any:
        if hint is int and _kind(metas) == "size" and isinstance(value, str):
            return value
        if hint is float and type(value) is int:
            return float(value)
        if hint is float and type(value) is float and not math.isfinite(value):
            return self._bad(path, "must be a finite number")
        if type(value) is hint:
            return value
        if hint is str:
            return self._bad(path, f"must be text, not {show(value)}" + ("" if isinstance(value, Mapping | list) else ": put it in quotes"))
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint)
        if wanted is None:
            raise TypeError(f"a setting cannot have the type {hint}")
        return self._bad(path, f"must be {wanted}, not {show(value)}")

    def _constrained(self, value: Any, path: Path, metas: Sequence[msgspec.Meta]) -> Any:
        if value is BAD:
            return BAD
        try:
            value = check(_kind(metas), value)
        except ValueError as error:
            return self._bad(path, str(error))
        for meta in metas:
            if meta.gt is not None and not value > meta.gt:
                return self._bad(path, f"must be above {meta.gt}, not {value}")
            if meta.ge is not None and not value >= meta.ge:
                return self._bad(path, f"must be at least {meta.ge}, not {value}")
            if meta.le is not None and not value <= meta.le:
                return self._bad(path, f"must be at most {meta.le}, not {value}")
        return value

    def _bad(self, path: Path, text: str) -> Any:
        self.problems.append(Problem(path, text))
        return BAD


def _kind(metas: Sequence[msgspec.Meta]) -> str:
    return _extra(metas, "kind") or ("size" if _extra(metas, "unit") == "bytes" else "")


def _is_list(hint: Any) -> bool:
    return get_origin(unwrap(hint)[0]) in (tuple, list, Sequence)
