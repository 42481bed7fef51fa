"""The rules of the source tree: which way imports go, how errors look."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from dacc_core import errors
from dacc_core.errors import DaccError, all_errors

ROOT = Path(__file__).resolve().parent.parent
PROVIDERS = ROOT / "providers"

OWN_ERRORS = [cls for cls in all_errors().values() if cls.__module__ == errors.__name__]
TREE_LINE = re.compile(r"^[\s│├└─]*(\w+) +(\d+)(?: |$)")


def modules(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


def sources() -> list[Path]:
    return list(modules(ROOT / "dacc_core", ROOT / "fakewarp", ROOT / "bench", *PROVIDERS.glob("*/src")))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports by its full name, with the line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names if node.module == "dacc_core")


def test_imports_go_downward_only() -> None:
    run = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_provider_imports_nothing_of_dacc_but_the_sdk() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules(*PROVIDERS.glob("*/src"))
        for line, name in imported(path)
        if name.partition(".")[0] in ("dacc_core", "fakewarp") and name != "dacc_core" and not f"{name}.".startswith("dacc_core.sdk.")
    ]
    assert wrong == []


def test_only_the_keystore_on_etcd_imports_its_packages() -> None:
    everything = [*modules(ROOT / "tests"), *sources()]
    packages = ("etcd3", "google", "grpc")
    users = {str(path.relative_to(ROOT)) for path in everything for _, name in imported(path) if name.partition(".")[0] in packages}
    assert users == {"dacc_core/keystore/etcd/protocol.py"}


def test_a_class_has_its_name_to_itself() -> None:
    """Whoever searches for a name finds one thing. On the hosts' programs, and private classes, this holds as well."""
    places = defaultdict(list)
    for path in modules(ROOT / "dacc_core", ROOT / "fakewarp", *PROVIDERS.glob("*/src")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("cls", OWN_ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_has_a_template_of_its_own_for_its_message(cls: type[DaccError]) -> None:
    assert vars(cls)["template"]
    assert not cls.template.endswith(".")


def test_errors_have_their_messages_without_docstrings_too() -> None:
    fields = sorted({name for cls in OWN_ERRORS for _, name, _, _ in Formatter().parse(cls.template) if name} - {"seconds"})
    code = f"""
from dacc_core.errors import all_errors
for name, cls in all_errors().items():
    print(name, str(cls(seconds=7.0, **dict.fromkeys({fields}, "X"))), sep=": ")
"""
    runs = ([sys.executable, *options, "-c", code] for options in ([], ["-OO"]))
    with_docstrings, without = (subprocess.run(run, capture_output=True, text=True, check=True).stdout for run in runs)
    assert without == with_docstrings
    assert "NoSuchSession: No matching session: token not found: X" in without


def test_errors_that_are_not_of_one_kind_have_different_exit_codes() -> None:
    own = [cls for cls in OWN_ERRORS if "exit_code" in vars(cls)]
    same = [
        (one.__name__, other.__name__)
        for index, one in enumerate(own)
        for other in own[index + 1 :]
        if one.exit_code == other.exit_code and not issubclass(one, other) and not issubclass(other, one)
    ]
    assert same == []


def test_exit_codes_leave_those_of_shells_alone() -> None:
    # 2 is a wrong command line; 126 and above mean to a shell that the program could not run or was killed.
    assert [cls.__name__ for cls in OWN_ERRORS if not (cls.exit_code == 1 or 10 <= cls.exit_code < 126)] == []


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    lines = (TREE_LINE.match(line) for line in (errors.__doc__ or "").splitlines())
    drawn = {match[1]: int(match[2]) for match in lines if match}
    assert drawn == {cls.__name__: cls.exit_code for cls in OWN_ERRORS}
