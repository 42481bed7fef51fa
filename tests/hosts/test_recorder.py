"""The runner that runs nothing."""

from __future__ import annotations

from dacc_core.hosts import FencingRunner, LocalRunner, RecordedCommand, RecorderRunner
from dacc_core.sdk import CancelToken, Command, CommandResult


def test_every_command_is_recorded_with_its_host_and_stdin() -> None:
    recorder = RecorderRunner()
    recorder.run(["a", "b"], Command(lambda host: ["echo", host], stdin=b"x"))
    assert recorder.calls == [RecordedCommand("a", ("echo", "a"), b"x"), RecordedCommand("b", ("echo", "b"), b"x")]


def test_a_fenced_command_is_recorded_with_its_generation() -> None:
    recorder = RecorderRunner()
    recorder.fenced("s", 3, CancelToken()).run(["a"], Command(["true"]))
    assert recorder.calls == [RecordedCommand("a", ("true",), b"", "s", 3)]


def test_answers_come_from_the_script() -> None:
    recorder = RecorderRunner(lambda call: CommandResult(call.host, 3, stdout=call.argv[0].encode()))
    heard: list[bytes] = []
    assert recorder.run(["a"], Command(["ls"], on_output=heard.append))["a"].returncode == 3
    assert heard == [b"ls"]


def test_without_a_script_everything_succeeds() -> None:
    assert RecorderRunner().run(["a"], Command(["false"]))["a"].ok


def test_fences_are_recorded() -> None:
    recorder = RecorderRunner()
    assert recorder.fence(["a"], "s", 2) == {"a": None}
    assert recorder.fences == [("a", "s", 2)]


def test_the_runners_are_fencing_runners() -> None:
    runners: list[FencingRunner] = [RecorderRunner(), LocalRunner(fence_dir="/nonexistent")]
    assert all(runner.python for runner in runners)
