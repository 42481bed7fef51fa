"""The half of the node kit that runs on hosts: commands, locks, errors by name."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dacc_core.sdk import NodeProgram
from dacc_core.sdk.node import kit, mounts
from dacc_core.sdk.node.kit import CommandFailed, NodeError, ProgramResult, all_at_once, locked, locked_directory, must, run

MODULES = ("kit", "mounts", "owned", "swap", "volumes")


@pytest.fixture(autouse=True)
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a call that may take 30 s, on a host with a /run of its own."""
    monkeypatch.setattr(kit, "RUN", str(tmp_path / "run"))
    kit.DEADLINE[0] = time.monotonic() + 30
    yield
    assert kit.LOCKS == []
    kit.DEADLINE[0] = float("inf")


def answered(monkeypatch: pytest.MonkeyPatch, verb: Any) -> dict[str, Any]:
    monkeypatch.setitem(kit.VERBS, "odd", verb)
    return kit.answer_request("odd", {"common": {"seconds": 5}, "hosts": {}}, "h")


def raising(error: BaseException) -> Any:
    def verb(job: Any) -> None:
        raise error

    return verb


@pytest.mark.parametrize("module", MODULES)
def test_the_kit_is_python_3_6_and_joins_with_no_name_twice(module: str) -> None:
    ast.parse(NodeProgram(f"dacc_core.sdk.node.{module}").text, feature_version=(3, 6))


@pytest.mark.parametrize("module", MODULES)
def test_the_kit_loads_what_takes_long_only_where_it_is_needed(module: str) -> None:
    text = NodeProgram(f"dacc_core.sdk.node.{module}").text + "\nprint(*sys.modules)\n"
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=text.encode(), capture_output=True, check=True)

    assert {"typing", "subprocess", "shutil", "threading", "ctypes", "signal"}.isdisjoint(done.stdout.decode().split())


@pytest.mark.parametrize("module", MODULES)
def test_nothing_in_it_runs_a_shell(module: str) -> None:
    tree = ast.parse(NodeProgram(f"dacc_core.sdk.node.{module}").text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    assert not [call for call in calls for word in call.keywords if word.arg == "shell"]
    assert not {"system", "popen"} & {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}


def test_a_program_that_does_not_end_is_killed_with_its_children() -> None:
    with pytest.raises(NodeError, match=r"sh of .* did not end in time and was killed"):
        run("sh", "-c", "sleep 987 & sleep 987 & wait; true", seconds=0.3)

    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x00987" in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_missing_program_is_named() -> None:
    with pytest.raises(NodeError, match="program no-such-program is missing"):
        run("no-such-program")


def test_a_program_gets_the_systems_path_and_plain_messages_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")

    assert sorted(must("it", "env", environment={"A": "1"}).split()) == ["A=1", "LC_ALL=C", f"PATH={kit.PATH}"]


def test_a_program_that_fails_is_reported_with_its_status_and_the_end_of_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = answered(monkeypatch, raising(CommandFailed("mkfs", "/dev/\udcff", ProgramResult(3, "", "x" * 100_000 + "no"))))

    failed = answer["failed"]
    assert (failed["command"], failed["target"], failed["returncode"]) == ("mkfs", r"/dev/\udcff", 3)
    assert len(failed["output"]) == kit.MAX_OUTPUT
    assert failed["output"].endswith("no")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (NodeError("Busy", "/mnt/\udcff is busy"), "Busy", r"/mnt/\udcff is busy"),
        (OSError(28, "No space left on device", "/x"), "NoSpace", "/x: No space left on device"),
        (OSError(5, "Input/output error"), "Unavailable", "odd: Input/output error"),
        (UnicodeEncodeError("ascii", "x", 0, 1, "no"), "InvalidRequest", "odd: "),
    ],
)
def test_an_error_is_reported_by_its_name(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, text: str) -> None:
    answer = answered(monkeypatch, raising(error))

    assert answer["error"] == kind
    assert answer["text"].startswith(text)


@pytest.mark.parametrize("lock", [locked, locked_directory])
def test_a_lock_that_another_call_holds_is_waited_for_and_named(tmp_path: Path, lock: Any) -> None:
    kit.DEADLINE[0] = time.monotonic() + 1.2
    name = str(tmp_path)

    with lock(name), pytest.raises(NodeError, match=f"another call holds the lock of {name}"), lock(name):
        pass
    with lock(name):
        pass


def test_a_directory_that_does_not_exist_needs_no_lock(tmp_path: Path) -> None:
    with locked_directory(str(tmp_path / "none")):
        assert kit.LOCKS == []


def test_programs_inherit_a_lock_but_daemons_do_not() -> None:
    look = ("sh", "-c", "ls -l /proc/self/fd | grep -c /lock/")

    with locked("brick"):
        assert (run(*look).stdout.strip(), run(*look, daemon=True).stdout.strip()) == ("1", "0")


def test_all_that_runs_at_once_is_finished_before_an_error_is_raised() -> None:
    failed, done = threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            failed.set()
            raise OSError("first")
        failed.wait()
        done.append(number)

    with pytest.raises(OSError, match="first"):
        all_at_once(work, [0, 1, 2])

    assert sorted(done) == [1, 2]


def test_outcomes_come_in_the_order_of_the_items() -> None:
    assert all_at_once(lambda number: -number, [3, 1, 2]) == [-3, -1, -2]


def test_the_mount_table_has_names_with_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = mounts._parse("36 35 8:0 / /mnt/a\\040b ro,nodev shared:1 - ext4 /dev/r\\011t rw\n")

    assert (entry.point, entry.source, entry.kind, entry.options, entry.device) == ("/mnt/a b", "/dev/r\tt", "ext4", ["ro", "nodev"], "8:0")


def test_who_holds_a_directory_is_named_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here2").mkdir()
    with (
        subprocess.Popen(["cat"], cwd=tmp_path / "here", stdin=subprocess.PIPE) as holder,
        subprocess.Popen(["cat"], cwd=tmp_path / "here2", stdin=subprocess.PIPE) as other,
    ):
        assert mounts.holders(str(tmp_path / "here")) == [holder.pid]
        assert mounts.held_by(str(tmp_path / "here")).startswith(f"process {holder.pid} uses it; ")
        assert mounts.end_holders(str(tmp_path / "here"), 5.0) == []
        assert other.poll() is None
        other.terminate()
