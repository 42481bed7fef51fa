"""What a host answers is judged strictly: what makes no sense is like no answer, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dacc_core.sdk import Busy, Command, CommandResult, DaccError, HostLost, ProviderBug, Unavailable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Site

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
    "a result that is a list": b'{"result": []}',
    "no result": b"{}",
    "more than a result": b'{"result": {}, "more": 1}',
    "a result and an error": b'{"result": {}, "error": "Busy", "text": "x"}',
    "an unknown error": b'{"error": "Nonesuch", "text": "x"}',
    "an error that only dacc may raise": b'{"error": "ProviderBug", "text": "x"}',
    "an error without a text": b'{"error": "Busy"}',
    "an error whose text is a number": b'{"error": "Busy", "text": 1}',
    "an error whose name is a list": b'{"error": ["Busy"], "text": "x"}',
    "a lone surrogate": b'{"error": "Busy", "text": "\\udcff"}',
    "bytes that are no characters": b'{"error": "Busy", "text": "\xff"}',
    "a field too many": b'{"result": {"x": 1}}',
    "a capacity that is a text": b'{"result": {"capacity": "1", "used": 1}}',
    "a capacity below nothing": b'{"result": {"capacity": -1, "used": 1}}',
    "a capacity beyond reason": b'{"result": {"capacity": 1' + b"0" * 300 + b', "used": 1}}',
}


@dataclass
class Liar:
    """A host runner whose hosts all answer the same."""

    output: bytes = b""
    status: int = 0
    stderr: bytes = b""
    python: str = "/usr/bin/python3"

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        return {host: CommandResult(host, self.status, self.output, self.stderr) for host in hosts}


CALLS: dict[str, Callable[[Site], Any]] = {
    "check_host": lambda site: site.check(),
    "create": lambda site: site.create(),
    "delete": lambda site: site.delete(),
    "mount": lambda site: site.mount("c1"),
    "unmount": lambda site: site.unmount("c1"),
    "swap_on": lambda site: site.swap("swap_on", "c1"),
    "swap_off": lambda site: site.swap("swap_off", "c1"),
    "usage": lambda site: site.provider.usage(site.whole()),
    "restore": lambda site: site.provider.restore(site.whole()),
}


def outcome(call: str, liar: Liar) -> DaccError | None:
    """The error of a call."""
    site = Site(liar, Path("/b"), Path("/mnt/dac"), {"backing": "image"})
    try:
        done = CALLS[call](site)
    except DaccError as error:
        return error
    return done.hosts["c1"] if call in ("mount", "unmount", "swap_on", "swap_off") else None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_makes_no_sense_is_a_host_that_was_lost(call: str, what: str) -> None:
    error = outcome(call, Liar(NONSENSE[what]))

    assert type(error) is HostLost, error
    assert "makes no sense" in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("output", [b'{"result": {}}', b'{"error": "AlreadyExists", "text": "x"}', b"\x1b[2J"])
def test_an_answer_of_a_program_that_failed_counts_for_nothing(call: str, output: bytes) -> None:
    assert type(outcome(call, Liar(output, status=1))) is HostLost


@pytest.mark.parametrize("status", [1, 127, -9])
def test_a_helper_that_died_without_an_answer_has_ended_early(status: int) -> None:
    error = outcome("mount", Liar(status=status, stderr=b"Traceback\nMemoryError\n"))

    assert type(error) is Unavailable
    assert "image-mount ended early: MemoryError" in str(error)


@pytest.mark.parametrize("call", ["create", "usage"])
def test_a_result_without_its_capacity_is_a_host_that_was_lost(call: str) -> None:
    assert type(outcome(call, Liar(b'{"result": {}}'))) is HostLost


def test_a_hosts_text_is_one_short_printable_line() -> None:
    text = "\x1b]0;x\x07busy\n" + "x" * 900_000

    error = outcome("unmount", Liar(json.dumps({"error": "Busy", "text": text}).encode()))

    assert isinstance(error, Busy)
    assert r"\x1b]0;x\x07busy\nxxx" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 1100


KEYS = st.sampled_from(["result", "error", "text", "capacity", "used"])


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that are almost answers."""
    return st.dictionaries(KEYS, values | st.sampled_from(["Busy", "ProviderBug", "Cancelled", 1 << 70]))


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANSWERS = objects(st.recursive(VALUES, lambda one: st.lists(one) | objects(one))).map(lambda made: json.dumps(made).encode())


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(st.sampled_from(list(CALLS)), st.binary() | ANSWERS, st.integers(-20, 255))
def test_whatever_a_host_answers_is_a_result_or_an_error_of_that_host(call: str, output: bytes, status: int) -> None:
    error = outcome(call, Liar(output, status))

    assert not isinstance(error, ProviderBug)
    assert error is None or isinstance(error, Unavailable) or (status == 0 and type(error) is Busy)


def test_a_helper_answers_although_a_name_has_bytes_that_are_no_characters(plain: Site) -> None:
    plain.create()
    odd = b"\xff\xfe.brick"
    (plain.base / "b1").joinpath(odd.decode("utf-8", "surrogateescape")).touch()

    try:
        plain.create()
    except DaccError as error:
        found = error
    with suppress(DaccError):
        plain.delete()
    (plain.base / "b1").joinpath(odd.decode("utf-8", "surrogateescape")).unlink()
    assert r"holds volume \udcff\udcfe" in str(found)
