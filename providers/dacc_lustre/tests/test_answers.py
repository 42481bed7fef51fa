"""What a host answers is judged strictly: what makes no sense is like no answer, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dacc_core.sdk import Busy, Command, CommandResult, DaccError, HostLost, ProviderBug, Swap, Unavailable
from hypothesis import given, settings
from hypothesis import strategies as st
from lustre_site import Site

from dacc_lustre import fitness

NONSENSE = {
    "nothing": b"",
    "no JSON": b"\x00\xff\xfe garbage",
    "half an answer": b'{"result": {"capaci',
    "two answers": b'{"result": {}}{"result": {}}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"9" * 400,
    "NaN": b'{"result": NaN}',
    "nested beyond reason": b'{"result":' * 50_000,
    "nested to the edge": b'{"result":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "a result that is a list": b'{"result": []}',
    "no result": b"{}",
    "more than a result": b'{"result": {}, "more": 1}',
    "a result and an error": b'{"result": {}, "error": "Busy", "text": "x"}',
    "an unknown error": b'{"error": "Nonesuch", "text": "x"}',
    "an error that only dacc may raise": b'{"error": "ProviderBug", "text": "x"}',
    "an error without a text": b'{"error": "Busy"}',
    "an error whose name is a list": b'{"error": ["Busy"], "text": "x"}',
    "a lone surrogate": b'{"error": "Busy", "text": "\\udcff"}',
    "bytes that are no characters": b'{"error": "Busy", "text": "\xff"}',
    "a failed program without its status": b'{"failed": {"command": "x", "target": "x", "output": ""}}',
    "a failed program whose status is a text": b'{"failed": {"command": "x", "target": "x", "returncode": "1", "output": ""}}',
    "a failed program whose status cannot be": b'{"failed": {"command": "x", "target": "x", "returncode": 1e400, "output": ""}}',
    "a failed program that is a text": b'{"failed": "x"}',
    "a field too many": b'{"result": {"x": 1}}',
}


@dataclass
class Liar:
    """A host runner: the hosts of some verbs answer all the same, the others as they should."""

    site: Site
    output: bytes = b""
    status: int = 0
    stderr: bytes = b""
    verbs: tuple[str, ...] = ()
    python: str = "/usr/bin/python3"
    asked: list[str] = field(default_factory=list)

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        verb = command.stdin.decode().rpartition("\nanswer_sent('")[2].partition("'")[0]
        self.asked.append(verb)
        if self.verbs and verb not in self.verbs:
            return Site.run(self.site, hosts, command)
        return {host: CommandResult(host, self.status, self.output, self.stderr) for host in hosts}


def swapped(site: Site, call: str) -> Any:
    request = Swap(context=site.context(), volume=site.volume, state=site.state, hosts=("c0",), path="/mnt/x", size=1)
    return getattr(site.provider, call)(request)


CALLS: dict[str, Callable[[Site], Any]] = {
    "create": lambda site: site.create(),
    "delete": lambda site: site.delete(),
    "mount": lambda site: site.mount("c0").hosts["c0"],
    "unmount": lambda site: site.unmount("c0").hosts["c0"],
    "swap_on": lambda site: swapped(site, "swap_on").hosts["c0"],
    "swap_off": lambda site: swapped(site, "swap_off").hosts["c0"],
    "usage": lambda site: site.provider.usage(site.whole()),
    "restore": lambda site: site.provider.restore(site.whole()),
}
STATE = {"mgs": [["10.0.0.1@o2ib1"]], "partuuids": {}, "laid_out": {}}


def lie(site: Site, liar: Liar) -> None:
    site.run = liar.run  # type: ignore[method-assign,assignment]


def outcome(call: str, root: Path, output: bytes, status: int = 0, stderr: bytes = b"", verbs: tuple[str, ...] = ()) -> DaccError | None:
    """The error of a call."""
    site = Site(root, state=dict(STATE))
    lie(site, Liar(site, output, status, stderr, verbs))
    try:
        done = CALLS[call](site)
    except DaccError as error:
        return error
    return done if isinstance(done, DaccError) else None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_makes_no_sense_is_a_host_that_was_lost(tmp_path: Path, call: str, what: str) -> None:
    error = outcome(call, tmp_path, NONSENSE[what])

    assert type(error) is HostLost, error
    assert "makes no sense" in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("output", [b'{"result": {}}', b'{"error": "AlreadyExists", "text": "x"}', b"\x1b[2J"])
def test_an_answer_of_a_program_that_failed_counts_for_nothing(tmp_path: Path, call: str, output: bytes) -> None:
    assert type(outcome(call, tmp_path, output, status=1)) is HostLost


@pytest.mark.parametrize("status", [1, 127, -9])
def test_a_helper_that_died_without_an_answer_has_ended_early(tmp_path: Path, status: int) -> None:
    error = outcome("mount", tmp_path, b"", status, b"Traceback\nMemoryError\n")

    assert type(error) is Unavailable
    assert "host c0: mount ended early: MemoryError" in str(error)


SLICE = {"device": "/dev/nvme0n1", "path": "/p1", "kind": "mdt", "partuuid": "u", "label": "", "content": "", "mounted": [], "size": 1}
PROBE = {
    "slices": [SLICE],
    "missing": [],
    "running": [],
    "mgt": None,
    "nids": ["10.0.0.1@o2ib1"],
    "resolved": {},
    "health": "healthy",
    "boot": "b",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"slices": None},
        {"slices": [[]]},
        {"slices": [{**SLICE, "size": "1"}]},
        {"slices": [{**SLICE, "more": "1"}]},
        {"slices": [{**SLICE, "partuuid": "u" * 1000}]},
        {"missing": "none"},
        {"running": [1]},
        {"mgt": []},
        {"mgt": {}},
        {"nids": {"a": 1}},
        {"nids": ["n"] * 10_000},
        {"resolved": []},
        {"resolved": {"h": "x"}},
        {"health": None},
        {"boot": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["create", "delete", "restore"])
def test_facts_of_another_shape_are_a_host_that_was_lost(tmp_path: Path, call: str, wrong: dict[str, Any]) -> None:
    error = outcome(call, tmp_path, json.dumps({"result": {**PROBE, **wrong}}).encode(), verbs=("probe",))

    assert type(error) is HostLost, error
    assert "host b0 was lost" in str(error)


@pytest.mark.parametrize(
    "result", [{}, {"capacity": 1}, {"capacity": "1", "used": 1}, {"capacity": 1, "used": -1}, {"capacity": 1 << 70, "used": 0}]
)
@pytest.mark.parametrize(("call", "verb"), [("create", "settle"), ("usage", "usage")])
def test_a_room_of_another_shape_is_a_host_that_was_lost(tmp_path: Path, call: str, verb: str, result: dict[str, Any]) -> None:
    assert type(outcome(call, tmp_path, json.dumps({"result": result}).encode(), verbs=(verb,))) is HostLost


def test_a_host_whose_facts_make_no_sense_does_not_keep_the_others_from_being_cleaned(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.create()
    site.unreachable.add("b1")  # which is what it is worth
    honest = site.run

    def run(hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        found = dict(honest(hosts, command))
        return {host: CommandResult(host, 0, b'{"result": {"slices": 1}}') if host == "b1" else found[host] for host in found}

    site.run = run  # type: ignore[method-assign,assignment]
    with pytest.raises(HostLost, match="host b1 was lost"):
        site.delete()

    assert site.hosts["b0"].labels() == []


def test_targets_that_answer_nonsense_are_no_reason_to_fail_when_a_dead_node_is_evicted(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.create()
    site.mount("c0")
    site.unreachable.add("c0")
    liar = Liar(site, b'{"result": {"evicted": 7}}', verbs=("evict",))
    lie(site, liar)

    assert "no target knew its Lustre client" in str(site.unmount("c0").hosts["c0"])
    assert liar.asked[-1] == "evict"


def test_a_host_that_answers_nonsense_to_a_check_is_a_finding(tmp_path: Path) -> None:
    site = Site(tmp_path)
    lie(site, Liar(site, b'{"result": {"nids": []}}'))

    (found,) = fitness.look(site.context(), site.provider.settings, {"b0": ["/dev/nvme0n1"]})

    assert (found.host, found.level) == ("b0", "error")
    assert "makes no sense" in found.text


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "Busy", "text": "\x1b]0;x\x07busy\n" + "x" * 900_000},
        {"failed": {"command": "umount" + "\x07" * 5000, "target": "y\n" * 5000, "returncode": 1, "output": "\x1b[2J" + "z" * 900_000}},
    ],
    ids=["error", "failed"],
)
def test_a_hosts_text_is_one_short_printable_line(tmp_path: Path, answer: dict[str, Any]) -> None:
    error = outcome("unmount", tmp_path, json.dumps(answer).encode())

    assert str(error).isprintable()
    assert len(str(error)) < 1100


def test_what_is_shown_of_a_hosts_facts_is_printable(tmp_path: Path) -> None:
    held = {**PROBE, "slices": [{**SLICE, "kind": kind, "label": "\x1b[2Jmine", "content": "ext4"} for kind in ("mdt", "ost")]}

    error = outcome("create", tmp_path, json.dumps({"result": held}).encode(), verbs=("probe",))

    assert str(error).isprintable()


FAILED = ("failed", "returncode", "command", "target", "output")
KEYS = st.sampled_from(["result", "error", "text", *FAILED, *PROBE, *SLICE, "capacity", "used"])


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that are almost answers."""
    return st.dictionaries(KEYS, values | st.sampled_from(["Busy", "ProviderBug", "Cancelled", 1 << 70, PROBE, SLICE]))


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANSWERS = objects(st.recursive(VALUES, lambda one: st.lists(one) | objects(one))).map(lambda made: json.dumps(made).encode())


@settings(max_examples=300)
@given(st.sampled_from(list(CALLS)), st.binary() | ANSWERS, st.integers(-20, 255))
def test_whatever_a_host_answers_is_a_result_or_an_error_of_that_host(call: str, output: bytes, status: int) -> None:
    error = outcome(call, Path("/nonexistent"), output, status)

    assert not isinstance(error, ProviderBug)
    assert error is None or isinstance(error, Unavailable) or (status == 0 and type(error) is Busy)
