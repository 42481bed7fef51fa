"""How a request gets to a host, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from dacc_core.sdk import (
    Busy,
    Cancelled,
    CancelToken,
    Command,
    CommandResult,
    Context,
    Deadline,
    HostUnreachable,
    NoSpace,
    ProviderBug,
    Unavailable,
)

from dacc_lustre import remote
from dacc_lustre.settings import Settings


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


def call(recorder: Recorder, settings: Settings | None = None, **more: Any) -> dict[str, remote.Answer]:
    context = Context(hosts=recorder, deadline=Deadline.after(100), **more)
    return remote.call(context, settings or Settings(), "probe", {"a": "$(reboot)"}, {"h1": {"b": 1}, "h2": {}}, seconds=30)


def test_by_default_the_text_is_sent_along_and_no_name_of_a_user_is_in_the_words() -> None:
    recorder = Recorder()

    assert call(recorder) == {"h1": {"x": 1}, "h2": {"x": 1}}
    ((words, stdin, timeout),) = recorder.asked
    assert words == {host: ["/usr/bin/python3", "-I", "-S", "-", host] for host in ("h1", "h2")}
    assert b"$(reboot)" in stdin
    assert timeout == 35


def test_an_installed_helper_gets_the_verb_alone_and_the_request_on_standard_input() -> None:
    recorder = Recorder()

    call(recorder, Settings(helper="/usr/libexec/dacc/lustre-helper", sudo=True))

    ((words, stdin, _),) = recorder.asked
    assert words["h1"] == ["sudo", "-n", "/usr/libexec/dacc/lustre-helper", "probe"]
    document = json.loads(stdin)
    assert document["hosts"] == {"h1": {"b": 1}, "h2": {}}
    assert document["common"]["a"] == "$(reboot)"
    assert 16 in document["common"]["retry"]["codes"]["mount.lustre"]


def test_the_host_ends_before_the_runner_does() -> None:
    recorder = Recorder()

    call(recorder, Settings(helper="/h"))

    ((_, stdin, timeout),) = recorder.asked
    assert json.loads(stdin)["common"]["seconds"] < timeout


def test_a_cancelled_call_runs_nothing() -> None:
    recorder, cancel = Recorder(), CancelToken()
    cancel.cancel()

    with pytest.raises(Cancelled):
        call(recorder, cancel=cancel)

    assert recorder.asked == []


@pytest.mark.parametrize(
    ("result", "kind", "says"),
    [
        (CommandResult("h1", -1, error=HostUnreachable(host="h1", why="no route")), HostUnreachable, "no route"),
        (CommandResult("h1", 1, b"", b"Traceback\nSyntaxError: no"), Unavailable, "host h1: probe ended early: SyntaxError: no"),
        (CommandResult("h1", 0, b'{"error": "Busy", "text": "wait"}'), Busy, "host h1: wait"),
        (CommandResult("h1", 0, b'{"error": "NoSpace", "text": "full"}'), NoSpace, "host h1: full"),
        (
            CommandResult("h1", 0, b'{"failed": {"command": "mount.lustre", "what": "x", "rc": 19, "text": "no"}}'),
            Unavailable,
            "host h1: mount.lustre of x failed with status 19",
        ),
        (None, ProviderBug, "no result for h1"),
    ],
)
def test_an_answer_that_is_no_result_is_an_error_that_names_the_host(result: CommandResult | None, kind: type, says: str) -> None:
    answer = remote.answer_of("h1", "probe", result)

    assert type(answer) is kind
    assert says in str(answer)
