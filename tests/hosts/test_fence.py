"""Generations: older commands are refused, ended, and never unrecorded."""

from __future__ import annotations

import ast
import inspect
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dacc_core.errors import Cancelled, DaccError, HostUnreachable
from dacc_core.hosts.base import HELPER, HelperRunner
from dacc_core.hosts.on_host import fence as on_host
from dacc_core.sdk import CancelToken, Command

from .conftest import Wait

Started = list[subprocess.Popen[bytes]]
KEY = "42.1700000000/../x y"


def alive(pid: int) -> bool:
    entry = on_host.process(pid)
    return entry is not None and entry[0] not in "ZX"


@pytest.fixture
def fences(tmp_path: Path) -> Path:
    return tmp_path / "fences" / "a"


@pytest.fixture
def started() -> Iterator[Started]:
    processes: Started = []
    yield processes
    for process in processes:
        process.terminate()  # a helper then ends its group
        process.communicate()


def helper(verb: str, folder: Path, *options: object, argv: Sequence[str] = ()) -> list[str]:
    words = [sys.executable, "-I", "-S", str(HELPER), verb, "--dir", str(folder), "--token", KEY, *map(str, options)]
    return [*words, "--", *argv] if argv else words


def run_helper(folder: Path, *argv: str, generation: int = 1, timeout: float = 60) -> list[str]:
    return helper("run", folder, "--generation", generation, "--timeout", timeout, argv=argv)


def fence_file(folder: Path) -> Path:
    return folder / f"{on_host.quoted(KEY)}.fence"


def groups(folder: Path) -> list[list[str]]:
    lines = fence_file(folder).read_text().splitlines() if fence_file(folder).exists() else []
    return [line.split()[1:] for line in lines if line.startswith("group")]


def sleeper(folder: Path, started: Started, script: str = "sleep 60 & echo $! $$; wait", generation: int = 1) -> list[int]:
    """Start a command behind the fence; the pids that it prints."""
    process = subprocess.Popen(
        run_helper(folder, "sh", "-c", script, generation=generation),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started.append(process)
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def raise_fence(folder: Path, generation: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(helper("fence", folder, "--generation", generation), capture_output=True, text=True, check=False)


def test_an_older_generation_is_refused(runner: HelperRunner, tmp_path: Path) -> None:
    assert runner.fence(["a"], KEY, 3) == {"a": None}
    result = runner.fenced(KEY, 2, CancelToken()).run(["a"], Command(["touch", str(tmp_path / "made")]))["a"]
    assert isinstance(result.error, Cancelled)
    assert "generation 2 is older than 3" in str(result.error)
    assert not (tmp_path / "made").exists()


def test_the_generation_of_the_fence_may_run(runner: HelperRunner) -> None:
    runner.fence(["a"], KEY, 3)
    assert runner.fenced(KEY, 3, CancelToken()).run(["a"], Command(["true"]))["a"].ok


def test_a_command_raises_the_generation(runner: HelperRunner) -> None:
    runner.fenced(KEY, 5, CancelToken()).run(["a"], Command(["true"]))
    assert not runner.fenced(KEY, 4, CancelToken()).run(["a"], Command(["true"]))["a"].ok


def test_a_fence_never_lowers_the_generation(runner: HelperRunner) -> None:
    runner.fence(["a"], KEY, 5)
    runner.fence(["a"], KEY, 2)
    assert not runner.fenced(KEY, 4, CancelToken()).run(["a"], Command(["true"]))["a"].ok


def test_each_host_and_each_key_has_a_fence_of_its_own(runner: HelperRunner) -> None:
    runner.fence(["a"], KEY, 5)
    assert runner.fenced(KEY, 1, CancelToken()).run(["b"], Command(["true"]))["b"].ok
    assert runner.fenced("other", 1, CancelToken()).run(["a"], Command(["true"]))["a"].ok


def test_the_fence_ends_a_running_group_with_its_grandchildren(runner: HelperRunner, fences: Path, started: Started) -> None:
    pids = sleeper(fences, started, "sh -c 'sleep 60 & echo $! $$; wait'")
    assert runner.fence(["a"], KEY, 2) == {"a": None}
    assert [alive(pid) for pid in pids] == [False, False]
    _, stderr = started[0].communicate(timeout=5)
    assert started[0].returncode == on_host.REFUSED
    assert b"generation 1 was fenced by 2" in stderr


def test_the_fence_kills_what_ignores_term(fences: Path, started: Started) -> None:
    pids = sleeper(fences, started, "trap '' TERM; sleep 60 & echo $! $$; wait; wait")
    assert raise_fence(fences).returncode == 0
    assert [alive(pid) for pid in pids] == [False, False]


def test_the_fence_spares_its_own_generation(fences: Path, started: Started) -> None:
    pids = sleeper(fences, started, generation=2)
    assert raise_fence(fences, 2).returncode == 0
    assert [alive(pid) for pid in pids] == [True, True]


def test_a_fenced_runner_hears_that_it_was_fenced(runner: HelperRunner, fences: Path, wait_until: Wait) -> None:
    errors: list[DaccError | None] = []
    fenced = runner.fenced(KEY, 1, CancelToken())
    thread = threading.Thread(target=lambda: errors.append(fenced.run(["a"], Command(["sleep", "60"]))["a"].error))
    thread.start()
    wait_until(lambda: bool(groups(fences)))
    runner.fence(["a"], KEY, 2)
    thread.join(10)
    assert isinstance(errors[0], Cancelled)


def test_a_command_goes_on_when_its_daemon_dies_and_the_fence_ends_it(fences: Path, wait_until: Wait) -> None:
    script = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], start_new_session=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, *run_helper(fences, "sleep", "60")]) as daemon:
        wait_until(lambda: bool(groups(fences)))
        daemon.kill()
    pid = int(groups(fences)[0][1])
    assert alive(pid)
    assert raise_fence(fences).returncode == 0
    assert not alive(pid)


def test_the_fence_ends_a_group_whose_helper_was_killed(fences: Path, started: Started) -> None:
    pids = sleeper(fences, started)
    started[0].kill()
    started[0].wait()
    assert [alive(pid) for pid in pids] == [True, True]
    assert raise_fence(fences).returncode == 0
    assert [alive(pid) for pid in pids] == [False, False]


def test_the_fence_ends_orphans_whose_leader_is_gone(fences: Path, started: Started) -> None:
    orphan, leader = sleeper(fences, started)
    started[0].kill()
    started[0].wait()
    os.kill(leader, signal.SIGKILL)
    assert alive(orphan)
    assert raise_fence(fences).returncode == 0
    assert not alive(orphan)


def test_nothing_runs_unrecorded_whenever_the_helper_is_killed(tmp_path: Path) -> None:
    """Killed after ever longer times: what started was recorded before it could do anything, so the fence ends it."""
    begun = time.monotonic()
    subprocess.run(run_helper(tmp_path / "whole", "true"), check=True)
    whole = time.monotonic() - begun  # on a busy machine it takes long before there is anything to see
    seen = 0
    for attempt in range(40):
        folder, marks = tmp_path / f"fences{attempt}", tmp_path / f"marks{attempt}"
        # The command writes its pid; when it could, its group must be on record.
        argv = ["sh", "-c", f"echo $$ > {marks}.new; mv {marks}.new {marks}; exec sleep 60"]
        with subprocess.Popen(run_helper(folder, *argv), start_new_session=True, stderr=subprocess.DEVNULL) as process:
            time.sleep(attempt / 20 * whole)
            process.kill()
        assert raise_fence(folder).returncode == 0
        time.sleep(0.01)
        if marks.exists():
            seen += 1
            assert not alive(int(marks.read_text()))
        assert not any(str(marks).encode() in line for line in command_lines())
    assert seen, "no attempt was long enough for the command to start"


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes()
            except OSError:
                continue


def stopped_before_gate(folder: Path, step: str) -> None:
    """Run the helper, and kill it where it would do ``step``."""
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(HELPER.parent)!r})
import fence as helper
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
{step}
os._exit(helper.main(sys.argv[1:]))
"""
    words = run_helper(folder, "touch", str(folder.parent / "made"))[4:]
    process = subprocess.run([sys.executable, "-I", "-S", "-c", script, *words], check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr


@pytest.mark.parametrize(
    "step",
    ["helper.admit = die", "helper.FenceFile.write = die", "os.rename = die", "helper.open_gate = die", "os.dup2 = die"],
)
def test_a_helper_killed_before_the_gate_opens_starts_nothing(tmp_path: Path, step: str) -> None:
    stopped_before_gate(tmp_path / "fences", step)
    time.sleep(0.2)
    assert not (tmp_path / "made").exists()
    assert raise_fence(tmp_path / "fences").returncode == 0


def test_a_helper_killed_while_it_replaces_the_file_leaves_the_old_one(tmp_path: Path) -> None:
    raise_fence(tmp_path / "fences", 7)
    for step in ("os.write = die", "os.rename = die"):
        script_step = f"helper.fork_gated = lambda *_: (helper.ProcessGroup(9, 1, 'x', 'y'), 0)\n{step}"
        words = run_helper(tmp_path / "fences", "true", generation=9)[4:]
        script = f"import os, signal, sys\nsys.path.insert(0, {str(HELPER.parent)!r})\nimport fence as helper\n"
        script += f"def die(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n{script_step}\nhelper.main(sys.argv[1:])"
        subprocess.run([sys.executable, "-I", "-S", "-c", script, *words], check=False)
        assert fence_file(tmp_path / "fences").read_text() == "generation 7\n"


def record(folder: Path, pid: int, started: str) -> None:
    folder.mkdir(parents=True)
    fence_file(folder).write_text(f"generation 1\ngroup 1 {pid} {started} 0123456789abcdef\n")


def test_a_reused_pid_is_not_killed(fences: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        record(fences, stranger.pid, f"1@{on_host.BOOT}")
        assert raise_fence(fences).returncode == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_pid_of_another_boot_is_not_killed(fences: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        entry = on_host.process(stranger.pid)
        assert entry is not None
        record(fences, stranger.pid, entry[2].replace(on_host.BOOT, "another-boot"))
        assert raise_fence(fences).returncode == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_strangers_daemon_in_a_reused_group_is_not_killed(fences: Path) -> None:
    # What daemons do: the group's leader forks and exits, so the group's number is that of nobody.
    run = subprocess.run(["setsid", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! $$"], capture_output=True, check=True)
    daemon, leader = (int(word) for word in run.stdout.split())
    try:
        record(fences, leader, f"1@{on_host.BOOT}")
        assert raise_fence(fences).returncode == 0
        assert alive(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_zombies_count_as_gone(fences: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        entry = on_host.process(process.pid)
        assert entry is not None
        record(fences, process.pid, entry[2])
        process.kill()
        assert raise_fence(fences).returncode == 0  # we have not reaped it


def test_what_cannot_be_ended_is_named(fences: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        entry = on_host.process(process.pid)
        assert entry is not None
        record(fences, process.pid, entry[2])
        monkeypatch.setattr(on_host, "END_SECONDS", 0.2)
        monkeypatch.setattr(on_host, "send", lambda group, number: None)
        assert on_host.main(["fence", "--dir", str(fences), "--token", KEY, "--generation", "2"]) == on_host.STUCK
        assert f"these did not end: {process.pid}" in capfd.readouterr().err
        assert groups(fences), "it stays on record, for the next fence"
        process.kill()


def test_the_record_goes_with_its_command(runner: HelperRunner, fences: Path) -> None:
    runner.fenced(KEY, 1, CancelToken()).run(["a"], Command(["true"]))
    assert fence_file(fences).read_text() == "generation 1\n"


def test_commands_of_one_generation_run_side_by_side(fences: Path, started: Started) -> None:
    sleeper(fences, started)
    sleeper(fences, started)
    assert len(groups(fences)) == 2


def test_many_commands_at_once_lose_no_record(runner: HelperRunner, fences: Path) -> None:
    fenced = runner.fenced(KEY, 1, CancelToken())
    threads = [threading.Thread(target=fenced.run, args=(["a"], Command(["true"]))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fence_file(fences).read_text() == "generation 1\n"


def test_the_directory_is_closed_to_others(runner: HelperRunner, fences: Path) -> None:
    runner.fence(["a"], KEY, 1)
    assert fences.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("token", ["../../etc/passwd", ".", "..", "a b\n", "ö\udcff", ""])
def test_a_token_is_one_file_name(token: str) -> None:
    name = on_host.quoted(token) + ".fence"
    assert "/" not in name
    assert name.isascii()
    assert name.isprintable()


def test_a_fence_file_that_cannot_be_read_refuses_everything(runner: HelperRunner, fences: Path, tmp_path: Path) -> None:
    fences.mkdir(parents=True)
    fence_file(fences).write_text("rubbish\n")
    assert not runner.fenced(KEY, 1, CancelToken()).run(["a"], Command(["touch", str(tmp_path / "made")]))["a"].ok
    assert isinstance(runner.fence(["a"], KEY, 2)["a"], HostUnreachable)
    assert not (tmp_path / "made").exists()


def test_the_timeout_is_enforced_without_the_daemon(fences: Path, started: Started, wait_until: Wait) -> None:
    process = subprocess.Popen(run_helper(fences, "sh", "-c", "sleep 60", timeout=0.5), stderr=subprocess.PIPE)
    started.append(process)
    wait_until(lambda: bool(groups(fences)))
    pid = int(groups(fences)[0][1])
    assert process.wait(5) == on_host.TIMED_OUT
    assert not alive(pid)
    assert groups(fences) == []


def test_the_helper_loads_no_module_that_takes_longer_than_its_work() -> None:
    script = f"import sys; sys.path.append({str(HELPER.parent)!r}); import fence; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "fence" in loaded
    assert loaded.isdisjoint({"enum", "signal", "re", "functools", "contextlib", "typing", "pathlib", "argparse", "subprocess"})


def test_the_helper_is_python_3_6() -> None:
    ast.parse(inspect.getsource(on_host), feature_version=(3, 6))


@pytest.mark.parametrize("verb", ["nohup", "trap '' HUP INT QUIT TERM PIPE USR1 CHLD; exec"])
def test_a_command_inherits_no_ignored_signal(tmp_path: Path, verb: str) -> None:
    """A daemon that was started by nohup or with & ignores signals; its commands must not, or nothing could interrupt them."""
    words = shlex.join([sys.executable, "-I", "-S", str(HELPER), "run", "--timeout", "60", "--", "grep", "SigIgn", "/proc/self/status"])
    script = f"{verb} {words} > {tmp_path}/out"  # nohup does nothing to what is no terminal
    subprocess.run(["sh", "-c", f"trap '' HUP; {script}"], check=True, stdin=subprocess.DEVNULL)
    libcs_own = 0b11 << 31  # signals 32 and 33, which no program can set
    assert int((tmp_path / "out").read_text().split()[1], 16) & ~libcs_own == 0


def old_fence(folder: Path, name: str, age: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.fence").write_text("generation 1\n")
    os.utime(folder / f"{name}.fence", (time.time() - age,) * 2)


def test_fences_of_last_week_are_swept_and_younger_ones_kept(runner: HelperRunner, tmp_path: Path) -> None:
    other = tmp_path / "fences" / "another-host"
    old_fence(other, "old", 8 * 86400)
    old_fence(other, "young", 86400)
    assert runner.fenced(KEY, 1, CancelToken()).run(["a"], Command(["true"]))["a"].ok
    assert [file.name for file in other.iterdir()] == ["young.fence"]


def test_fences_are_swept_now_and_then_only(fences: Path) -> None:
    raise_fence(fences)
    old_fence(fences, "old", 8 * 86400)
    raise_fence(fences, 3)
    assert (fences / "old.fence").exists()
    os.utime(fences.parent / ".swept", (time.time() - 7 * 3600,) * 2)
    raise_fence(fences, 4)
    assert not (fences / "old.fence").exists()


def test_a_folder_that_cannot_be_swept_stops_no_command(fences: Path) -> None:
    (fences.parent / ".swept").mkdir(parents=True)
    assert subprocess.run(run_helper(fences, "true"), check=False).returncode == 0


def attached_helper(folder: Path, *argv: str) -> subprocess.Popen[bytes]:
    """The far end of a connection, of which we hold the ends."""
    words = helper("run", folder, "--generation", 1, "--timeout", 60, "--attached", "0123", argv=argv)
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_an_attached_helper_marks_the_end_of_both_streams(fences: Path) -> None:
    stdout, stderr = attached_helper(fences, "sh", "-c", "echo out; echo err >&2; exit 7").communicate(timeout=20)
    assert stdout == b"out\n" + on_host.closing("0123")
    assert stderr == b"err\n" + on_host.closing("0123") + b" 7\n"


def test_an_attached_helper_ends_its_command_when_the_connection_ends(fences: Path, wait_until: Wait) -> None:
    with attached_helper(fences, "sh", "-c", "echo $$; exec sleep 60") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pid = int(process.stdout.readline())
        process.stderr.close()
        wait_until(lambda: not alive(pid))
        assert process.wait(10) == on_host.REFUSED
    assert groups(fences) == []


def test_an_attached_helper_starts_nothing_when_the_connection_has_ended(fences: Path, tmp_path: Path) -> None:
    words = helper("run", fences, "--generation", 1, "--timeout", 60, "--attached", "0123", argv=["touch", str(tmp_path / "made")])
    out, into = os.pipe()
    os.close(out)
    assert subprocess.run(words, stdin=subprocess.DEVNULL, stderr=into, check=False).returncode == on_host.REFUSED
    os.close(into)
    assert not (tmp_path / "made").exists()
    assert groups(fences) == []


def test_a_helper_that_is_not_attached_goes_on_when_nobody_listens(fences: Path, tmp_path: Path) -> None:
    out, into = os.pipe()
    os.close(out)
    script = f"sleep 0.7; touch {tmp_path / 'made'}"
    assert subprocess.run(run_helper(fences, "sh", "-c", script), stdin=subprocess.DEVNULL, stderr=into, check=False).returncode == 0
    os.close(into)
    assert (tmp_path / "made").exists()
