"""The provider's side of the node kit: how a request gets to a host, and what its answer means."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dacc_core.sdk import (
    AlreadyExists,
    Busy,
    ByteCount,
    Cancelled,
    CancelToken,
    Command,
    CommandResult,
    Context,
    DaccError,
    Deadline,
    FailedCommand,
    HostLost,
    HostUnreachable,
    NodeAnswers,
    NodeHosts,
    NodeProgram,
    NodeResult,
    NoSpace,
    ProviderBug,
    Unavailable,
)

PROGRAM = """
from dacc_core.sdk.node.kit import Job, NodeError, must, run, verb

from .more import greeting


@verb("greet")
def greet(job: Job) -> dict:
    return {"text": greeting(job["host"], job["name"]), "size": 3}


@verb("fail")
def fail(job: Job) -> None:
    raise NodeError("Busy", "wait \\udcff")


@verb("run-false")
def run_false(job: Job) -> None:
    must("the thing", "false")
"""
MORE = '''
def greeting(host: str, name: str) -> str:
    """Words."""
    return "{}: hello {}".format(host, name)
'''


class Greeting(NodeResult, frozen=True):
    text: str
    size: ByteCount


@dataclass
class Hosts:
    """A host runner that gives every host the same answer and keeps what it was asked."""

    output: bytes = b'{"result": {"text": "x", "size": 1}}'
    status: int = 0
    stderr: bytes = b""
    error: DaccError | None = None
    silent: str = ""
    python: str = "/usr/bin/python3"
    asked: list[tuple[dict[str, list[str]], bytes, float]] = field(default_factory=list)

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        self.asked.append(({host: command.for_host(host) for host in hosts}, command.stdin, command.timeout))
        return {host: CommandResult(host, self.status, self.output, self.stderr, self.error) for host in hosts if host != self.silent}


class Here(Hosts):
    """Runs what it is given on this machine."""

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        done = {host: subprocess.run(command.for_host(host), input=command.stdin, capture_output=True, check=False) for host in hosts}
        return {host: CommandResult(host, one.returncode, one.stdout, one.stderr) for host, one in done.items()}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeProgram:
    """A program of a package that is only here for the test."""
    return made(tmp_path, monkeypatch, main=PROGRAM, more=MORE)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> NodeProgram:
    package = f"pkg_{tmp_path.name}"
    (tmp_path / package).mkdir()
    for name, text in {"__init__": "", **modules}.items():
        (tmp_path / package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return NodeProgram(f"{package}.main")


def nodes(runner: Hosts, program: NodeProgram, *, cancel: CancelToken | None = None, **more: Any) -> NodeHosts:
    return NodeHosts(Context(hosts=runner, deadline=Deadline.after(100), cancel=cancel or CancelToken()), program, **more)


def greet(runner: Hosts, program: NodeProgram, **more: Any) -> NodeAnswers[Greeting]:
    return nodes(runner, program, **more).call("greet", ["h1", "h2"], Greeting, {"name": "$(reboot)"}, {"h1": {"name": "you"}}, seconds=30)


# What is sent.


def test_a_program_runs_on_an_interpreter_that_has_nothing_of_dacc(program: NodeProgram) -> None:
    answers = greet(Here(python=sys.executable), program)

    assert answers.results() == {"h1": Greeting("h1: hello you", 3), "h2": Greeting("h2: hello $(reboot)", 3)}
    assert answers.outcome().hosts == {"h1": None, "h2": None}


def test_its_errors_have_their_class_and_name_the_host(program: NodeProgram) -> None:
    here = nodes(Here(python=sys.executable), program)

    busy, failed = (here.call(verb, ["h1"], NodeResult).hosts["h1"] for verb in ("fail", "run-false"))

    assert (type(busy), str(busy)) == (Busy, r"host h1: wait \udcff")
    assert (type(failed), str(failed)) == (Unavailable, "host h1: false of the thing failed with status 1")


def test_the_text_is_sent_along_and_no_name_of_a_user_is_in_the_words(program: NodeProgram) -> None:
    hosts = Hosts()
    greet(hosts, program)

    ((words, stdin, timeout),) = hosts.asked
    assert words == {host: ["/usr/bin/python3", "-I", "-S", "-", host] for host in ("h1", "h2")}
    assert b"$(reboot)" in stdin
    assert timeout == 30


def test_an_installed_program_gets_the_verb_alone_and_the_request_on_standard_input(program: NodeProgram) -> None:
    hosts = Hosts()
    greet(hosts, program, installed=("sudo", "-n", "/usr/libexec/helper"))

    ((words, stdin, timeout),) = hosts.asked
    assert words["h1"] == ["sudo", "-n", "/usr/libexec/helper", "greet"]
    request = json.loads(stdin)
    assert request["hosts"] == {"h1": {"name": "you"}, "h2": {}}
    assert request["common"]["name"] == "$(reboot)"
    assert request["common"]["seconds"] < timeout, "so that the host can say what was late"


def test_an_installed_program_takes_exactly_one_verb(program: NodeProgram, tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    helper.write_text(program.installable("Made for a test."))

    done = subprocess.run([sys.executable, "-IS", str(helper), "greet", "more"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (64, "")
    assert "helper: 'greet more' is no verb; the verbs are fail, greet, run-false" in done.stderr
    assert program.verbs == ("fail", "greet", "run-false")


def test_a_cancelled_call_runs_nothing(program: NodeProgram) -> None:
    hosts, cancel = Hosts(), CancelToken()
    cancel.cancel()

    with pytest.raises(Cancelled):
        greet(hosts, program, cancel=cancel)

    assert hosts.asked == []


def test_a_call_on_no_host_runs_nothing(program: NodeProgram) -> None:
    hosts = Hosts()

    assert nodes(hosts, program).call("greet", [], Greeting).hosts == {}
    assert hosts.asked == []


def test_of_the_kit_only_what_is_used_is_sent(program: NodeProgram) -> None:
    assert "def must(" in program.text
    assert "def need_programs(" not in program.text


# What cannot be joined.


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("from .more import greeting as hello\n", "line 1: import names as they are"),
        ("from .more import *\n", "line 1: import names as they are"),
        ("from . import more\n", "line 1: a host has only the modules next to this one"),
        ("from dacc_core.errors import Busy\n", "line 1: a host has only the modules next to this one"),
        ("from .more import greeting\ndef greeting(): ...\n", "defines greeting, which"),
        ("def run(): ...\nfrom dacc_core.sdk.node.kit import verb\n", "defines run, which"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str) -> None:
    program = made(tmp_path, monkeypatch, main=text, more=MORE)

    with pytest.raises(ValueError, match=why):
        _ = program.text


# What comes back.


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\x00\xff\xfe garbage",
        b'{"result": {"te',
        b'{"result": {}}{"result": {}}',
        b"[]",
        b"null",
        b"9" * 400,
        b'{"result": NaN}',
        b'{"result":' * 50_000,
        b'{"result":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b'{"result": []}',
        b"{}",
        b'{"result": {}, "more": 1}',
        b'{"result": {}, "error": "Busy", "text": "x"}',
        b'{"error": "Nonesuch", "text": "x"}',
        b'{"error": "ProviderBug", "text": "x"}',
        b'{"error": "Busy"}',
        b'{"error": "Busy", "text": 1}',
        b'{"error": ["Busy"], "text": "x"}',
        b'{"error": "Busy", "text": "\\udcff"}',
        b'{"error": "Busy", "text": "\xff"}',
        b'{"failed": {"command": "x", "target": "x", "output": ""}}',
        b'{"failed": {"command": "x", "target": "x", "returncode": "1", "output": ""}}',
        b'{"failed": {"command": "x", "target": "x", "returncode": 1e400, "output": ""}}',
        b'{"result": {"text": "x"}}',
        b'{"result": {"text": "x", "size": "1"}}',
        b'{"result": {"text": "x", "size": -1}}',
        b'{"result": {"text": "x", "size": 1, "more": 1}}',
    ],
    ids=lambda output: output[:60].decode(errors="replace"),
)
def test_an_answer_that_makes_no_sense_is_a_host_that_was_lost(program: NodeProgram, output: bytes) -> None:
    error = greet(Hosts(output), program).hosts["h1"]

    assert type(error) is HostLost, error
    assert "its answer to greet makes no sense" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 1100


def test_of_an_installed_program_that_makes_no_sense_the_version_is_to_be_looked_at(program: NodeProgram) -> None:
    error = greet(Hosts(b"{}"), program, installed=("/usr/libexec/helper",)).hosts["h1"]

    assert "; an installed program must be of the provider's version" in str(error)


@pytest.mark.parametrize("output", [b'{"result": {"text": "x", "size": 1}}', b'{"error": "AlreadyExists", "text": "x"}', b"\x1b[2J"])
def test_an_answer_of_a_program_that_failed_counts_for_nothing(program: NodeProgram, output: bytes) -> None:
    assert type(greet(Hosts(output, status=1), program).hosts["h1"]) is HostLost


@pytest.mark.parametrize("status", [1, 127, -9])
def test_a_program_that_died_without_an_answer_has_ended_early(program: NodeProgram, status: int) -> None:
    error = greet(Hosts(b"", status, b"Traceback\nMemoryError\n"), program).hosts["h1"]

    assert (type(error), str(error)) == (Unavailable, "host h1: greet ended early: MemoryError")


def test_a_host_that_has_no_result_was_lost_and_hides_no_other(program: NodeProgram) -> None:
    answers = greet(Hosts(silent="h1"), program)

    assert type(answers.hosts["h1"]) is HostLost
    assert list(answers.succeeded) == ["h2"]
    with pytest.raises(HostLost):
        answers.results()


def test_a_host_that_cannot_be_reached_keeps_its_error(program: NodeProgram) -> None:
    unreachable = HostUnreachable(host="h1", why="no route")

    assert greet(Hosts(error=unreachable), program).hosts["h1"] is unreachable


def test_a_provider_may_judge_failed_programs_itself(program: NodeProgram) -> None:
    def judge(failed: FailedCommand) -> DaccError:
        return NoSpace(why=failed.why()) if failed.returncode == 28 else AlreadyExists(why=failed.why())

    output = b'{"failed": {"command": "mkfs", "target": "/dev/x", "returncode": 28, "output": "noise\\nno room"}}'
    error = greet(Hosts(output), program, judge=judge).hosts["h1"]

    assert (type(error), str(error)) == (NoSpace, "host h1: mkfs of /dev/x failed with status 28 (no room)")


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "Busy", "text": "\x1b]0;x\x07busy\n" + "x" * 900_000},
        {"failed": {"command": "umount" + "\x07" * 5000, "target": "y\n" * 5000, "returncode": 1, "output": "\x1b[2J" + "z" * 900_000}},
    ],
    ids=["error", "failed"],
)
def test_a_hosts_text_is_one_short_printable_line(program: NodeProgram, answer: dict[str, Any]) -> None:
    error = greet(Hosts(json.dumps(answer).encode()), program).hosts["h1"]

    assert str(error).isprintable()
    assert len(str(error)) < 1100


def test_a_result_has_printable_texts_only(program: NodeProgram) -> None:
    output = json.dumps({"result": {"text": "\x1b[2Jmine\n", "size": 1}}).encode()

    assert greet(Hosts(output), program).results()["h1"].text == r"\x1b[2Jmine"


KEYS = st.sampled_from(["result", "error", "text", "size", "failed", "command", "target", "returncode", "output"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that are almost answers."""
    return st.dictionaries(KEYS, values | st.sampled_from(["Busy", "ProviderBug", "Cancelled", 1 << 70]))


ANSWERS = objects(st.recursive(VALUES, lambda values: st.lists(values) | objects(values))).map(lambda answer: json.dumps(answer).encode())


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(st.binary() | ANSWERS, st.integers(-20, 255))
def test_whatever_a_host_answers_is_a_result_or_an_error_of_that_host(output: bytes, status: int) -> None:
    answer = greet(Hosts(output, status), NodeProgram("dacc_core.sdk.node.kit")).hosts["h1"]

    assert not isinstance(answer, ProviderBug)
    assert isinstance(answer, Greeting | Unavailable) or (status == 0 and type(answer) is Busy)
