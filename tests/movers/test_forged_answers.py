"""The walker is a process of the user's: he can stop it, take its output and write the answer himself."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dacc_core.errors import DaccError, StepFailed, Unavailable
from dacc_core.hosts import RecordedCommand, RecorderRunner
from dacc_core.movers.users import PASSAGE, entering, look_up_user
from dacc_core.sdk import Command, CommandResult, Context, Deadline, HostRunner

from .conftest import PYTHON, Hooked, Site, require_root

BUFFER = "$DW_JOB_STRIPED"
EVIL = "evil"


@dataclass
class Forger:
    """Puts other answers in the place of the walker's, by the question; keeps what was run."""

    hosts: HostRunner
    answers: dict[str, Callable[[Any], bytes]]
    status: int = 0
    ran: list[list[str]] = field(default_factory=list)

    @property
    def python(self) -> str:
        return self.hosts.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        assert not callable(command.argv)
        self.ran.append(list(command.argv))
        results = self.hosts.run(hosts, command)
        question = command.stdin.rpartition(b"\nanswer(")[2].partition(b"(")[0].decode()
        if question not in self.answers:
            return results
        return {
            host: CommandResult(host, self.status or result.returncode, self.answers[question](json.loads(result.stdout)), result.stderr)
            for host, result in results.items()
        }


def forge(site: Site, answers: dict[str, Callable[[Any], bytes]], status: int = 0) -> Forger:
    forgers: list[Forger] = []

    def hook(hosts: HostRunner) -> HostRunner:
        forgers.append(Forger(hosts, answers, status))
        return forgers[-1]

    site.hook = hook
    site.file(site.buffer / "d/a")
    with pytest.raises(DaccError) as caught:
        site.copy(f"{BUFFER}/d", site.home / "d", "directory", out=True)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000
    site.error = caught.value  # type: ignore[attr-defined]
    return forgers[0]


def changed(**changes: Any) -> Callable[[Any], bytes]:
    """The true answer with other values, of the pairs' where they have such."""

    def change(answer: Any) -> bytes:
        for key, value in changes.items():
            for one in [answer] if key in answer or "pairs" not in answer else answer["pairs"]:
                one[key] = value
        return json.dumps(answer).encode()

    return change


NONSENSE: list[bytes] = [
    b"",
    b'{"refused":"wrong","path":"\\ud800","why":"x","side":"source"}',
    b'{"begun":1.0,"pairs":[{"refused":"wrong","path":"\\ud800","why":"x","side":"source"}]}',
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"x"',
    b"{'a': 1}",
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 100_000,
    b'{"begun": NaN, "pairs": []}',
    b'{"begun": 1, "pairs": []}',
    b'{"begun": 1, "pairs": [{}]}',
    b'{"begun": 1, "pairs": [null]}',
    b'{"begun": 1, "pairs": {"a": 1}}',
    b'{"begun": 1, "pairs": [{"refused": "missing"}]}',
    b'{"begun": 1, "pairs": [{"refused": "x", "path": "/", "why": "", "side": "source"}]}',
    b'{"begun": 1, "pairs": [{"refused": "missing", "path": "/", "why": "", "side": "__class__"}]}',
    b'{"refused": "missing", "path": "/", "why": "", "side": "source"}',
    b'{"pairs": [{"fresh": true}]} {}',
]


@pytest.mark.parametrize("question", ["survey", "prepare", "compare"])
@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_one_clear_error_that_may_be_tried_again(site: Site, question: str, nonsense: bytes) -> None:
    forge(site, {question: lambda _: nonsense})
    assert isinstance(site.error, StepFailed)  # type: ignore[attr-defined]
    assert "what looks at the files on host mover answers nonsense" in str(site.error)  # type: ignore[attr-defined]
    assert site.error.retryable  # type: ignore[attr-defined]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("survey", {"source": "d/a"}),
    ("survey", {"source": "/etc"}),
    ("survey", {"source": "./../../roots"}),
    ("survey", {"source": "./a\0b"}),
    ("survey", {"source": "-e"}),
    ("survey", {"source": 7}),
    ("survey", {"source": "./" + "x" * 100_000}),
    ("survey", {"destination": "./d"}),
    ("survey", {"destination": "host:/d"}),
    ("survey", {"folder": "yes"}),
    ("survey", {"files": -1}),
    ("survey", {"files": 1.5}),
    ("survey", {"bytes": 1 << 70}),
    ("survey", {"bytes": True}),
    ("survey", {"growth": "1"}),
    ("survey", {"growth": -(1 << 70)}),
    ("survey", {"begun": -1}),
    ("survey", {"begun": "0)); import os"}),
    ("survey", {"begun": 1e300}),
    ("prepare", {"fresh": 1}),
    ("compare", {"files": -1}),
    ("compare", {"differences": [["a", "b", False]] * 1000}),
    ("compare", {"differences": [["a", "b"]]}),
    ("compare", {"differences": [["a", "b" * 100_000, True]]}),
]


@pytest.mark.parametrize(("question", "values"), BAD)
def test_a_value_of_the_wrong_kind_is_nonsense(site: Site, question: str, values: dict[str, Any]) -> None:
    forge(site, {question: changed(**values)})
    assert "answers nonsense" in str(site.error)  # type: ignore[attr-defined]


def test_texts_of_it_are_clean(site: Site) -> None:
    refusal = {"refused": "wrong", "path": "/\x1b[2J\n\udcff", "why": "\x1b[31m" + "x" * 900, "side": "source"}
    forge(site, {"survey": lambda _: json.dumps({"begun": 1, "pairs": [refusal]}).encode()})
    assert r"\x1b[31mxxx" in str(site.error)  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [1, 137])
def test_an_answer_is_none_when_the_walker_did_not_end_well(site: Site, status: int) -> None:
    forge(site, {"survey": lambda true: json.dumps(true).encode()}, status)
    assert isinstance(site.error, Unavailable)  # type: ignore[attr-defined]
    assert "cannot look at" in str(site.error)  # type: ignore[attr-defined]


@pytest.mark.root
def test_nothing_that_root_does_is_taken_from_it(site: Site) -> None:
    """All that comes before the words that make us the user is what we know ourselves."""
    require_root()
    site.file(site.buffer / EVIL / "x")
    told = changed(root=EVIL, closed=False, source=f"./{EVIL}", destination=f"{site.home}/{EVIL}", folder=True)
    forger = forge(site, {"survey": told, "compare": lambda _: b""})
    as_the_user = [words for words in forger.ran if "setpriv" in words]
    assert any("rsync" in words for words in as_the_user)
    for words in as_the_user:
        passage = PASSAGE if "rsync" in words else ""
        before = entering(PYTHON, [site.root(site.buffer)], ["env", "-u", "HOME", "setpriv", "--reuid", str(site.someone.uid)], passage)
        assert words[: len(before)] == before
    assert [words for words in forger.ran if words[0] not in ("getent", "id")] == as_the_user


@pytest.mark.root
def test_totals_beyond_what_a_record_can_hold_are_cut(site: Site) -> None:
    most = (1 << 63) - 1
    site.file(site.home / "a")
    site.file(site.home / "b")
    listing = site.file(site.home / "list", f"{site.home}/a {BUFFER}/a\n{site.home}/b {BUFFER}/b\n".encode())
    site.hook = lambda hosts: Forger(hosts, {"survey": changed(bytes=most, files=most), "compare": changed(bytes=most, files=most)})
    assert site.copy(listing, "", "list").bytes == most
    assert {one.total_bytes for one in site.told} == {most}


@pytest.fixture
def killing(site: Site) -> Iterator[None]:
    """The user kills what runs as him when it has begun."""
    require_root()

    def kill() -> None:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.stat().st_uid == site.someone.uid:
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue

    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            kill()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.root
@pytest.mark.usefixtures("killing")
def test_a_walker_that_its_user_kills_is_one_clear_error(site: Site) -> None:
    site.file(site.buffer / "a")

    def until_he_hits_it() -> None:
        while True:
            site.copy(f"{BUFFER}/a", site.home / "a", out=True)

    with pytest.raises(Unavailable, match=r"exit status 137|SIGKILL|signal 9") as caught:
        until_he_hits_it()
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("getent", b"anna:x:1002:100::/home/anna:/bin/sh\n"),
        ("getent", b":x:1001:100::/home/anna:/bin/sh\n"),
        ("getent", b"nonsense\n"),
        ("getent", b""),
        ("groups", b"100 many\n"),
        ("groups", "١٠٠\n".encode()),
        ("groups", b"-1 100\n"),
        ("groups", b"9" * 5000),
        ("us", b"root\n"),
        ("us", b"\n"),
    ],
)
def test_a_directory_service_that_answers_nonsense_is_unavailable(command: str, said: bytes) -> None:
    answers = {
        "getent": (("getent", "passwd", "1001"), b"anna:x:1001:100::/home/anna:/bin/sh\n"),
        "groups": (("id", "-G", "--", "anna"), b"100\n"),
        "us": (("id", "-u"), b"0\n"),
    }
    known = dict(answers.values()) | {answers[command][0]: said}

    def answer(call: RecordedCommand) -> CommandResult:
        return CommandResult(call.host, 0, stdout=known[call.argv])

    with pytest.raises(Unavailable, match=r"^host m cannot look up"):
        look_up_user(Context(hosts=RecorderRunner(answer), deadline=Deadline.after(9)), "m", 1001, 100)


def test_a_forger_that_changes_nothing_is_not_noticed(site: Site) -> None:
    """Otherwise the tests above would show little."""
    site.hook = lambda hosts: Hooked(
        Forger(hosts, {name: lambda true: json.dumps(true).encode() for name in ("survey", "compare")}), "none"
    )
    site.file(site.buffer / "d/a")
    assert site.copy(f"{BUFFER}/d", site.home / "d", "directory", out=True).files == 1
