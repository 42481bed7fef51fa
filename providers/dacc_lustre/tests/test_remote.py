"""How a request gets to a host, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from dacc_core.sdk import (
    AlreadyExists,
    Cancelled,
    CancelToken,
    Command,
    CommandResult,
    Context,
    DaccError,
    Deadline,
    NodeResult,
)

from dacc_lustre import remote
from dacc_lustre.settings import LustreSettings


@dataclass
class Recorder:
    """A host runner that keeps what it was asked."""

    output: bytes = b'{"result": {"x": 1}}'
    python: str = "/usr/bin/python3"
    asked: list[tuple[dict[str, list[str]], bytes, float]] = field(default_factory=list)

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        words = {host: command.for_host(host) for host in hosts}
        self.asked.append((words, command.stdin, command.timeout))
        return {host: CommandResult(host, 0, self.output) for host in hosts}


class Answer(NodeResult, frozen=True):
    x: int


def call(recorder: Recorder, settings: LustreSettings | None = None, **more: Any) -> Mapping[str, Answer | DaccError]:
    context = Context(hosts=recorder, deadline=Deadline.after(100), **more)
    common = {"a": "$(reboot)"}
    return remote.ask(context, settings or LustreSettings(), "probe", ["h1", "h2"], Answer, common, {"h1": {"b": 1}}, seconds=30).hosts


def test_by_default_the_text_is_sent_along_and_no_name_of_a_user_is_in_the_words() -> None:
    recorder = Recorder()

    assert call(recorder) == {"h1": Answer(x=1), "h2": Answer(x=1)}
    ((words, stdin, timeout),) = recorder.asked
    assert words == {host: ["/usr/bin/python3", "-I", "-S", "-", host] for host in ("h1", "h2")}
    assert b"$(reboot)" in stdin
    assert timeout == 35


def test_an_installed_helper_gets_the_verb_alone_and_the_request_on_standard_input() -> None:
    recorder = Recorder()

    call(recorder, LustreSettings(helper="/usr/libexec/dacc/lustre-helper", sudo=True))

    ((words, stdin, _),) = recorder.asked
    assert words["h1"] == ["sudo", "-n", "/usr/libexec/dacc/lustre-helper", "probe"]
    document = json.loads(stdin)
    assert document["hosts"] == {"h1": {"b": 1}, "h2": {}}
    assert document["common"]["a"] == "$(reboot)"
    assert 16 in document["common"]["retry"]["codes"]["mount.lustre"]


def test_the_host_ends_before_the_runner_does() -> None:
    recorder = Recorder()

    call(recorder, LustreSettings(helper="/h"))

    ((_, stdin, timeout),) = recorder.asked
    assert json.loads(stdin)["common"]["seconds"] < timeout


def test_a_cancelled_call_runs_nothing() -> None:
    recorder, cancel = Recorder(), CancelToken()
    cancel.cancel()

    with pytest.raises(Cancelled):
        call(recorder, cancel=cancel)

    assert recorder.asked == []


def test_a_failed_program_is_judged_by_the_providers_table() -> None:
    recorder = Recorder(b'{"failed": {"command": "mount.lustre", "target": "x", "returncode": 17, "output": "no"}}')

    error = call(recorder)["h1"]

    assert isinstance(error, AlreadyExists)
    assert str(error).startswith("host h1: mount.lustre of x failed with status 17 (no): something is mounted there already")
