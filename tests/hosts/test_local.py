"""Hosts that are mount namespaces of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dacc_core.errors import Cancelled, HostUnreachable
from dacc_core.hosts import LocalRunner
from dacc_core.sdk import CancelToken, Command


@pytest.mark.root
def test_a_command_runs_in_its_hosts_mount_namespace(tmp_path: Path, namespaces: Path) -> None:
    runner = LocalRunner(fence_dir=tmp_path / "fences", namespace=f"{namespaces}/%h")
    place = tmp_path / "place"
    place.mkdir()
    made = runner.run(["a"], Command(["mount", "-t", "tmpfs", "dacc-test", str(place)]))["a"]
    assert made.ok, made.why()
    found = runner.run(["a", "b"], Command(["findmnt", "--noheadings", "--output", "SOURCE", str(place)]))
    assert found["a"].stdout == b"dacc-test\n"
    assert found["b"].returncode == 1
    assert not os.path.ismount(place)


@pytest.mark.root
def test_a_host_without_its_namespace_costs_only_its_own(tmp_path: Path, namespaces: Path) -> None:
    runner = LocalRunner(fence_dir=tmp_path / "fences", namespace=f"{namespaces}/%h")
    results = runner.run(["a", "dead", "b"], Command(["true"]))
    assert isinstance(results["dead"].error, HostUnreachable)
    assert (results["a"].ok, results["b"].ok) == (True, True)


@pytest.mark.root
def test_a_host_without_its_namespace_cannot_be_fenced(tmp_path: Path, namespaces: Path) -> None:
    runner = LocalRunner(fence_dir=tmp_path / "fences", namespace=f"{namespaces}/%h")
    outcome = runner.fence(["a", "dead"], "s", 2)
    assert outcome["a"] is None
    assert isinstance(outcome["dead"], HostUnreachable)


@pytest.mark.root
def test_a_command_in_a_namespace_is_fenced(tmp_path: Path, namespaces: Path) -> None:
    runner = LocalRunner(fence_dir=tmp_path / "fences", namespace=f"{namespaces}/%h")
    results: list[object] = []
    fenced = runner.fenced("s", 1, CancelToken())
    thread = threading.Thread(target=lambda: results.append(fenced.run(["a"], Command(["sleep", "60"]))["a"].error))
    thread.start()
    time.sleep(0.5)
    assert runner.fence(["a"], "s", 2) == {"a": None}
    thread.join(5)
    assert isinstance(results[0], Cancelled)


def test_a_command_of_a_daemon_that_ignores_signals_can_be_interrupted(tmp_path: Path) -> None:
    script = f"""
import signal
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
from dacc_core.hosts import LocalRunner
from dacc_core.sdk import Command
print(LocalRunner(fence_dir={str(tmp_path)!r}).run(["a"], Command(["sh", "-c", "kill -INT $$; echo ignored"]))["a"].returncode)
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == f"{128 + signal.SIGINT}\n"
