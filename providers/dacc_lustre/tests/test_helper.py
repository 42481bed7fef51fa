"""The node helper as a program: what it may use, what it accepts, how its calls end."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dacc_lustre
from dacc_lustre import remote

NODE = sorted((Path(dacc_lustre.__file__).parent / "node").glob("*.py"))
SOURCES = sorted(Path(dacc_lustre.__file__).parent.rglob("*.py"))
VERBS = {
    *("probe", "check", "prepare", "mgs-start", "mgs-erase", "nodemap", "format", "start", "stop", "wipe", "tune"),
    *("settle", "whole", "usage", "private", "mount", "unmount", "evict", "swap-on", "swap-off"),
}
NEEDS = {"common": {"seconds": 20, "retry": {"codes": {}, "tries": 1, "wait": 0}}, "hosts": {}}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, type checkers' imports too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module) if "dacc" in str(node.module) else str(node.module).partition(".")[0])
    return found


def test_the_joined_helper_is_python_3_6() -> None:
    ast.parse(remote.installable("1.0"), feature_version=(3, 6))


@pytest.mark.parametrize("path", NODE, ids=lambda path: path.stem)
def test_the_helper_imports_the_standard_library_only(path: Path) -> None:
    kit = {name for name in imports(path) if name.startswith("dacc_core.sdk.node.")}
    assert imports(path) - kit <= sys.stdlib_module_names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_of_dacc_the_provider_imports_only_the_sdk(path: Path) -> None:
    assert {name for name in imports(path) if name.startswith(("dacc_core", "fakewarp")) and not name.startswith("dacc_core.sdk")} == set()


def test_its_verbs_are_these() -> None:
    assert set(remote.PROGRAM.verbs) == VERBS


def test_nothing_in_it_runs_a_shell() -> None:
    calls = [node for node in ast.walk(ast.parse(remote.PROGRAM.text)) if isinstance(node, ast.Call)]

    assert not [one for one in calls for word in one.keywords if word.arg == "shell"]
    assert not {"system", "popen"} & {one.func.attr for one in calls if isinstance(one.func, ast.Attribute)}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "helper"
    path.write_text(remote.installable("1.0"))
    return path


def call(program: Path, *arguments: str, asked: str | None = None, document: Any = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **({"SSH_ORIGINAL_COMMAND": asked} if asked is not None else {})}
    text = json.dumps(document or NEEDS)
    return subprocess.run([sys.executable, "-IS", str(program), *arguments], input=text, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "asked",
    ["", "rm", "probe ", " probe", "probe; reboot", "probe\nreboot", "$(probe)", "probe probe", "../probe", "mount -o suid"],
)
def test_as_a_forced_command_it_takes_exactly_one_verb(program: Path, asked: str) -> None:
    done = call(program, "probe", asked=asked)

    assert (done.returncode, done.stdout) == (64, "")
    assert "is no verb; the verbs are check, evict" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("probe", "more"), ("--help",), ("probe;",)])
def test_as_a_program_it_takes_exactly_one_verb(program: Path, arguments: tuple[str, ...]) -> None:
    assert call(program, *arguments).returncode == 64


def test_as_a_forced_command_the_verb_that_was_asked_for_counts(program: Path) -> None:
    done = call(program, asked="evict", document={**NEEDS, "common": {**NEEDS["common"], "clients": [], "fsname": "dacc0001"}})

    # Without Lustre: an answer all the same, which says what is missing.
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer == {"result": {"evicted": []}} or "program lctl is missing" in answer["text"]


def load() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "helper"}
    exec(compile(remote.PROGRAM.text, "helper", "exec"), names)
    return names


def test_a_regular_file_is_no_block_device(tmp_path: Path) -> None:
    # data-acc issue 120: mkfs.lustre had made a file where the partition's node was missing.
    names = load()
    (tmp_path / "nvme0n1p2").write_text("")

    assert not names["is_block"](str(tmp_path / "nvme0n1p2"))
    assert not names["is_block"](str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("label", "name", "state"),
    [
        ("", "OST0000", "blank"),
        ("dacc0001:OST0000", "OST0000", "new"),
        ("dacc0001:OST0001", "OST0000", "stale"),
        ("dacc0001-OST0000", "OST0000", "ours"),
        ("dacc0001=OST0000", "OST0000", "ours"),
        ("dacc0001-OST0001", "OST0000", "foreign"),
        ("dacc0002:OST0000", "OST0000", "foreign"),
        ("MGS", "OST0000", "foreign"),
        ("home", "OST0000", "foreign"),
    ],
)
def test_a_label_says_what_a_slice_is(label: str, name: str, state: str) -> None:
    assert load()["state_of"](label, "dacc0001", name) == state


@pytest.mark.parametrize(("refusals", "held"), [(2, False), (1000, True)])
def test_a_device_that_another_call_looks_at_for_a_moment_is_not_in_use(monkeypatch: pytest.MonkeyPatch, refusals: int, held: bool) -> None:
    left = iter(range(refusals))

    def refused(*_: object) -> int:
        if next(left, None) is not None:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return 99

    helper: dict[str, Any] = {"__name__": "helper"}
    exec(remote.PROGRAM.text, helper)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        patch.setattr(os, "close", lambda _: None)
        assert helper["in_use"]("/dev/nvme0n1p2") is held
