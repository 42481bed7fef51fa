"""What every runner does with commands: the same, on this machine and over ssh."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dacc_core.errors import BadName, Cancelled, HostLost, HostUnreachable, Unavailable
from dacc_core.hosts import LocalRunner, base
from dacc_core.hosts.base import HelperCall, HelperRunner
from dacc_core.hosts.engine import ENGINE, HostEngine, fan_out
from dacc_core.hosts.process import MAX_OUTPUT, ProcessResult
from dacc_core.sdk import CancelToken, Command

from .conftest import Wait


def test_each_host_has_a_result(runner: HelperRunner) -> None:
    results = runner.run(["a", "b", "a"], Command(lambda host: ["echo", host]))
    assert {host: result.stdout for host, result in results.items()} == {"a": b"a\n", "b": b"b\n"}


def test_no_host_is_no_result(runner: HelperRunner) -> None:
    assert runner.run([], Command(["true"])) == {}


def test_a_command_gets_its_stdin(runner: HelperRunner) -> None:
    data = os.urandom(300_000)
    result = runner.run(["a"], Command(["sh", "-c", "cat; echo done >&2"], stdin=data))["a"]
    assert (result.stdout, result.stderr) == (data, b"done\n")


def test_a_command_need_not_read_its_stdin(runner: HelperRunner) -> None:
    assert runner.run(["a"], Command(["true"], stdin=bytes(1_000_000)))["a"].ok


def test_no_stdin_is_an_empty_one(runner: HelperRunner) -> None:
    assert runner.run(["a"], Command(["cat"]))["a"].stdout == b""


def test_no_shell_reads_the_arguments(runner: HelperRunner) -> None:
    hostile = ["$(id)", "a;reboot", "`x`", "-e", "new\nline", "*", "\udcff"]
    result = runner.run(["a"], Command(["printf", "%s\\0", *hostile]))["a"]
    assert result.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in hostile]


def test_the_exit_status_is_the_commands(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["sh", "-c", "echo out; echo why >&2; exit 7"]))["a"]
    assert (result.returncode, result.why(), result.error) == (7, "why", None)


@pytest.mark.parametrize("code", [112, 113, 124, 125])
def test_the_helpers_exit_statuses_are_a_commands_too(runner: HelperRunner, code: int) -> None:
    result = runner.run(["a"], Command(["sh", "-c", f"exit {code}"]))["a"]
    assert (result.returncode, result.error) == (code, None)


def test_a_command_killed_by_a_signal_has_a_status_above_128(runner: HelperRunner) -> None:
    assert runner.run(["a"], Command(["sh", "-c", "kill -9 $$"]))["a"].returncode == 137


def test_a_missing_program_is_status_127_with_its_name(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["no-such-program"]))["a"]
    assert (result.returncode, result.why(), result.error) == (127, "no-such-program: No such file or directory", None)


def test_a_program_that_may_not_run_is_status_126(runner: HelperRunner, tmp_path: Path) -> None:
    (tmp_path / "program").touch(0o600)
    assert runner.run(["a"], Command([str(tmp_path / "program")]))["a"].returncode == 126


def test_an_argument_with_a_nul_costs_its_host_only(runner: HelperRunner) -> None:
    results = runner.run(["a", "b"], Command(lambda host: ["echo", "\0" if host == "a" else "fine"]))
    assert isinstance(results["a"].error, HostUnreachable)
    assert results["b"].stdout == b"fine\n"


@pytest.mark.parametrize("host", ["", "-x", "../etc", "a/b", "a b", "user@host", ".", "nöde"])
def test_a_bad_host_name_costs_its_host_only(runner: HelperRunner, host: str) -> None:
    results = runner.run([host, "b"], Command(["true"]))
    assert isinstance(results[host].error, BadName)
    assert results["b"].ok


def test_of_stdout_the_beginning_is_kept_and_the_rest_dropped(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["sh", "-c", "echo begin; head -c 3000000 /dev/zero"]))["a"]
    assert result.stdout.startswith(b"begin\n")
    assert len(result.stdout) == MAX_OUTPUT


def test_of_stderr_the_end_is_kept(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["sh", "-c", "head -c 3000000 /dev/zero >&2; echo >&2; echo why >&2; exit 1"]))["a"]
    assert result.why() == "why"
    assert len(result.stderr) == MAX_OUTPUT


def test_output_is_heard_while_the_command_runs(runner: HelperRunner) -> None:
    heard: list[tuple[float, bytes]] = []
    command = ["sh", "-c", "echo one; sleep 0.4; echo two"]
    runner.run(["a"], Command(command, on_output=lambda chunk: heard.append((time.monotonic(), chunk))))
    assert [chunk for _, chunk in heard] == [b"one\n", b"two\n"]
    assert heard[1][0] - heard[0][0] > 0.3


def test_signals_of_the_command_are_those_of_a_fresh_process(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]))["a"]
    libcs_own = 0b11 << 31  # signals 32 and 33, which no program can set: they stay as whoever started us left them
    assert [int(line.split()[1], 16) & ~libcs_own for line in result.stdout.splitlines()] == [0, 0]


def test_secrets_of_the_daemon_are_not_in_the_commands_environment(runner: HelperRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDCTL_PASSWORD", "secret")
    names = {line.partition(b"=")[0] for line in runner.run(["a"], Command(["env"]))["a"].stdout.splitlines()}
    assert names <= {b"PATH", b"LC_ALL", b"DACC_FENCE"}


def test_a_daemon_that_the_command_leaves_does_not_hold_it_up(runner: HelperRunner, tmp_path: Path, wait_until: Wait) -> None:
    file = tmp_path / "daemon"
    script = f"echo $$ > {file}.new; mv {file}.new {file}; exec sleep 60"
    result = runner.run(["a"], Command(["setsid", "sh", "-c", script], timeout=30))["a"]
    assert result.ok
    wait_until(file.exists)
    os.kill(int(file.read_text()), signal.SIGKILL)  # it was still there, and held our streams


def test_what_the_command_leaves_in_its_group_is_ended(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"]))["a"]
    assert not Path(f"/proc/{int(result.stdout)}/exe").exists()


def test_a_command_ends_at_its_timeout(runner: HelperRunner) -> None:
    begun = time.monotonic()
    result = runner.run(["a"], Command(["sh", "-c", "echo begun; sleep 60"], timeout=0.3))["a"]
    assert isinstance(result.error, Unavailable)
    assert (str(result.error), result.stdout) == ("sh on a: timed out: not done after 0.3 s", b"begun\n")
    assert time.monotonic() - begun < 10


def test_a_command_that_ignores_term_is_killed(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["sh", "-c", "trap '' TERM; sleep 60"], timeout=0.1))["a"]
    assert isinstance(result.error, Unavailable)


def test_a_timeout_may_be_infinite(runner: HelperRunner) -> None:
    assert runner.run(["a"], Command(["true"], timeout=float("inf")))["a"].ok


def test_one_slow_host_delays_no_other(runner: HelperRunner, tmp_path: Path) -> None:
    def argv(host: str) -> list[str]:
        if host == "slow":  # ends when all others have ended
            return ["sh", "-c", f"while [ $(ls {tmp_path}/done | wc -l) -lt 20 ]; do sleep 0.05; done"]
        return ["touch", f"{tmp_path}/done/{host}"]

    (tmp_path / "done").mkdir()
    results = runner.run(["slow", *(f"h{n}" for n in range(20))], Command(argv, timeout=50))
    assert [host for host, result in results.items() if not result.ok] == []


def test_at_most_64_commands_run_at_once() -> None:
    running = peak = 0

    async def command(host: str) -> str:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.01)
        running -= 1
        return host

    names = [f"h{n}" for n in range(300)]
    assert list(ENGINE.run(lambda: fan_out(names, command)).values()) == names
    assert peak == 64


class Waiting(HelperRunner):
    """A runner whose hosts answer when all commands of a test are on their way."""

    def __init__(self, directory: Path, commands: int) -> None:
        super().__init__(fence_dir=directory, python="python3")
        self.left, self.all_there = commands, asyncio.Event()
        self.threads = 0

    async def _reach(self, host: str, call: HelperCall) -> ProcessResult:
        self.left -= 1
        if not self.left:
            self.threads = threading.active_count()
            self.all_there.set()
        await self.all_there.wait()
        return ProcessResult(0, b"", b"")


def test_commands_that_run_at_once_need_no_thread_each(tmp_path: Path) -> None:
    before = threading.active_count()
    runner = Waiting(tmp_path, 32 * 64)
    callers = [threading.Thread(target=runner.run, args=([f"h{n}" for n in range(64)], Command(["true"]))) for _ in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert runner.threads <= before + len(callers) + 1


def unstartable(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_when_no_thread_can_start_every_host_fails_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "ENGINE", HostEngine())
    runner = LocalRunner(fence_dir=tmp_path)
    fenced = runner.fenced("key", 1, CancelToken())
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", unstartable)
        results = fenced.run(["a", "b"], Command(["touch", str(tmp_path / "made")]))
        fences = runner.fence(["a", "b"], "key", 2)
    assert [type(result.error) for result in results.values()] == [Unavailable, Unavailable]
    assert [type(error) for error in fences.values()] == [Unavailable, Unavailable]
    assert "can't start new thread" in str(fences["a"])
    assert not fenced.unsure
    assert not (tmp_path / "made").exists()
    assert runner.run(["a"], Command(["true"]))["a"].ok


def test_a_listener_that_raises_anything_ends_neither_its_command_nor_others(runner: HelperRunner) -> None:
    def listen(_: bytes) -> None:
        raise SystemExit

    assert runner.run(["a"], Command(["sh", "-c", "echo one; echo two"], on_output=listen))["a"].stdout == b"one\ntwo\n"
    assert runner.run(["a"], Command(["true"]))["a"].ok


def test_a_listener_that_runs_a_command_does_not_hang_the_engine(runner: HelperRunner) -> None:
    errors: list[RuntimeError] = []

    def listen(_: bytes) -> None:
        try:
            runner.run(["b"], Command(["true"]))
        except RuntimeError as error:
            errors.append(error)

    assert runner.run(["a"], Command(["echo"], on_output=listen))["a"].ok
    assert "run no command in a listener" in str(errors[0])


def test_cancelling_ends_a_fenced_command_at_once(runner: HelperRunner) -> None:
    cancel, started = CancelToken(), threading.Semaphore(0)
    times: list[float] = []

    def stop() -> None:
        for _ in range(2):
            assert started.acquire(timeout=20)
        times.append(time.monotonic())
        cancel.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    fenced = runner.fenced("s", 1, cancel)
    results = fenced.run(["a", "b"], Command(["sh", "-c", "sleep 60 & echo; sleep 60"], on_output=lambda _: started.release()))
    assert time.monotonic() - times[0] < 2
    thread.join()
    assert [type(result.error) for result in results.values()] == [Cancelled, Cancelled]
    assert fenced.unsure


def test_a_cancelled_runner_starts_nothing(runner: HelperRunner, tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    result = runner.fenced("s", 1, cancel).run(["a"], Command(["touch", str(tmp_path / "made")]))["a"]
    assert isinstance(result.error, Cancelled)
    assert not (tmp_path / "made").exists()


def test_cancelling_leaves_commands_outside_of_the_fence_alone(runner: HelperRunner) -> None:
    cancel = CancelToken()
    runner.fenced("s", 1, cancel)
    cancel.cancel()
    assert runner.run(["a"], Command(["true"]))["a"].ok


def test_a_finished_command_leaves_nothing_with_the_cancel_token(runner: HelperRunner) -> None:
    cancel = CancelToken()
    runner.fenced("s", 1, cancel).run(["a"], Command(["true"]))
    assert cancel._callbacks == []


def test_a_fenced_runner_knows_python(runner: HelperRunner) -> None:
    fenced = runner.fenced("s", 1, CancelToken())
    assert fenced.run(["a"], Command([fenced.python, "-I", "-S", "-"], stdin=b"print(6 * 7)"))["a"].stdout == b"42\n"


def test_a_command_that_ended_leaves_nothing_unsure(runner: HelperRunner) -> None:
    fenced = runner.fenced("s", 1, CancelToken())
    fenced.run(["a"], Command(["false"]))
    fenced.run(["a"], Command(["sleep", "60"], timeout=0.1))
    assert not fenced.unsure


def test_commands_begin_in_the_root_directory_with_a_usual_umask(runner: HelperRunner) -> None:
    assert runner.run(["a"], Command(["sh", "-c", "pwd; umask"]))["a"].stdout == b"/\n0022\n"


def test_output_and_errors_come_byte_by_byte_as_they_were_written(runner: HelperRunner) -> None:
    script = "import os; os.write(1, b'\\0\\x1e\\xff no newline'); os.write(2, b'\\x1edacc-end \\n\\n')"
    result = runner.run(["a"], Command([sys.executable, "-I", "-S", "-c", script]))["a"]
    assert (result.stdout, result.stderr) == (b"\0\x1e\xff no newline", b"\x1edacc-end \n\n")


class Broken(HelperRunner):
    """A runner that meets a defect of ours, or an answer that it does not understand, at one of its hosts."""

    async def _reach(self, host: str, call: HelperCall) -> ProcessResult:
        if host == "b":
            raise ValueError("invalid literal \x1b[31m for int()")
        return ProcessResult(0, b"fine\n", b"")


def test_a_defect_in_reaching_one_host_is_the_loss_of_that_host_alone(tmp_path: Path) -> None:
    results = Broken(fence_dir=tmp_path, python="python3").run(["a", "b"], Command(["true"]))
    assert results["a"].stdout == b"fine\n"
    assert isinstance(results["b"].error, HostLost)
    assert str(results["b"].error).isprintable()


def test_a_command_on_a_host_that_was_lost_by_a_defect_may_still_run(tmp_path: Path) -> None:
    fenced = Broken(fence_dir=tmp_path, python="python3").fenced("key", 1, CancelToken())
    fenced.run(["b"], Command(["true"]))
    assert fenced.unsure


def test_a_fence_is_answered_for_every_host_whatever_one_of_them_answers(tmp_path: Path) -> None:
    answers = Broken(fence_dir=tmp_path, python="python3").fence(["a", "b"], "key", 2)
    assert answers["a"] is None
    assert isinstance(answers["b"], HostLost)


def test_what_a_command_says_is_one_clean_line_in_messages(runner: HelperRunner) -> None:
    result = runner.run(["a"], Command(["printf", "first\n\\033[31m\\377%s" % ("x" * 5000)]))["a"]
    assert result.why().startswith("\\x1b[31m\ufffdxxx")
    assert len(result.why()) == 1000


def test_a_caller_that_is_interrupted_ends_its_command(tmp_path: Path) -> None:
    """Ctrl-C in a program that runs a command: what runs on the host ends with it."""
    script = f"""
import os, signal
from dacc_core.hosts import LocalRunner
from dacc_core.sdk import Command
try:
    command = Command(["sh", "-c", "echo; exec sleep 60"], on_output=lambda _: os.kill(os.getpid(), signal.SIGINT))
    LocalRunner(fence_dir={str(tmp_path)!r}).fenced("key", 1, CancelToken()).run(["a"], command)
except KeyboardInterrupt:
    print("interrupted")
"""
    script = script.replace("import Command", "import CancelToken, Command")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30).stdout == "interrupted\n"
    fence = tmp_path / "a" / "key.fence"
    end = time.monotonic() + 40
    while fence.read_text() != "generation 1\n":
        assert time.monotonic() < end, fence.read_text()
        time.sleep(0.01)


def test_the_end_of_a_process_is_seen_on_kernels_without_pidfd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(pid: int, flags: int = 0) -> int:
        raise OSError("Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", lacking)
    runner = LocalRunner(fence_dir=tmp_path)
    assert runner.run(["a"], Command(["setsid", "sh", "-c", "echo here; exec sleep 1"]))["a"].stdout == b"here\n"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    runner = LocalRunner(fence_dir=tmp_path)
    assert runner.run(["a"], Command(["true"], stdin=b"x"))["a"].ok
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        runner.run(["a", "b"], Command(["cat"], stdin=b"x" * 100_000))
        runner.run(["a"], Command(["sleep", "60"], timeout=0.01))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
