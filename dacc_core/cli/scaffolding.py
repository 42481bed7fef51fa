"""A new provider package, made from the files in ``scaffold``: all of it or nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from ..errors import AlreadyExists, BadName, InvalidRequest, NotFound
from ..plugins import list_providers

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 32
SUFFIX = ".in"
"""Ends the name of every template, so that no tool takes one for source of dacc's own."""


def new_package(name: str, directory: str = "") -> tuple[Path, list[str]]:
    """Write the package of a provider; its directory and the names of its files.

    Raises BadName, AlreadyExists for a directory (or whatever has its name), NotFound when there is nothing to put it in, and
    InvalidRequest when it cannot be written. After an error nothing is left.
    """
    words = _words(_checked(name))
    place = Path(directory or f"dacc-provider-{name}")
    _check_place(place)
    made = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        made.mkdir()
        written = [_write(made, path, text, words) for path, text in _templates(files(__package__) / "scaffold", PurePosixPath())]
        made.rename(place)
    except OSError as error:
        raise InvalidRequest(why=f"directory {place} cannot be made: {error.strerror}: give another one as DIR") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return place, sorted(written)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        why = f"use up to {LONGEST} lower-case letters, digits and single hyphens, with a letter first"
        raise BadName(what="provider", name=name, why=why)
    taken = list_providers(disabled=(name,), name=name)
    if taken:
        raise BadName(what="provider", name=name, why=f"{taken[0].package} {taken[0].version} offers it: choose another one")
    module = _words(name)["MODULE"]
    if importlib.util.find_spec(module) is not None:
        raise BadName(what="provider", name=name, why=f"there is a module {module} already: choose another one")
    return name


def _words(name: str) -> Mapping[str, str]:
    """What stands for ``@WORD@`` in the templates and in their names."""
    camel = "".join(part.capitalize() for part in name.split("-"))
    return {"NAME": name, "MODULE": f"dacc_{name.replace('-', '_')}", "CAMEL": camel}


def _check_place(place: Path) -> None:
    if os.path.lexists(place):
        raise AlreadyExists(why=f"{place} exists: give another directory as DIR, or move it away")
    if not place.parent.is_dir():
        raise NotFound(why=f"directory {place.parent} does not exist: make it first, or give another DIR")


def _templates(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, below / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield below / entry.name.removesuffix(SUFFIX), entry.read_text("utf-8")


def _write(root: Path, path: PurePosixPath, text: str, words: Mapping[str, str]) -> str:
    name = _filled(str(path), words)
    target = root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_filled(text, words), "utf-8")
    return name


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub("@([A-Z]+)@", lambda match: words[match[1]], text)
