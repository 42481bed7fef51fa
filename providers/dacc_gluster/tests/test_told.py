"""What a host tells is judged strictly: what makes no sense is like no answer, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from dacc_core.sdk import (
    AlreadyExists,
    BrickRef,
    Busy,
    CheckHost,
    Command,
    CommandResult,
    Context,
    Create,
    DaccError,
    Deadline,
    Delete,
    HostLost,
    InvalidRequest,
    Mount,
    NoSpace,
    ProviderBug,
    Unavailable,
    Unmount,
    Volume,
    VolumeRequest,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dacc_gluster import GlusterProvider
from dacc_gluster.settings import GlusterSettings

NONSENSE = {
    "nothing": b"",
    "no JSON": b"\x00\xff\xfe garbage",
    "half an answer": b'{"room": 1, "po',
    "two answers": b"null null",
    "a number": b"9" * 400,
    "NaN": b"NaN",
    "nested beyond reason": b"[" * 50_000,
    "an empty object": b"{}",
    "an object of other fields": b'{"x": 1}',
    "a list of too many": b"[1, 2, 3]",
    "a list of texts": b'["1", "2"]',
    "a list of what is below nothing": b"[-1, 1]",
    "a lone surrogate": b'{"known": false, "why": "\\udcff"}',
    "bytes that are no characters": b'{"known": false, "why": "\xff"}',
    "a text for a truth": b'{"known": "yes", "why": ""}',
    "room beyond reason": b'{"room": 1' + b"0" * 300 + b', "pool": ""}',
    "a pool that is a number": b'{"room": 1, "pool": 1}',
    "a pool of other lines": b'{"room": 1, "pool": "UUID Hostname State\\nx\\n\\ny localhost\\n"}',
    "a pool without the host": b'{"pool": "UUID Hostname State\\n"}',
}
SOUND = b'{"room": 1, "pool": "UUID Hostname State\\nid1 localhost Connected\\n"}'
VOLUME = Volume(name="t0000001", pool="p", provider="gluster", capacity=1, bricks=(BrickRef(host="dac1", device="/dev/x"),))


@dataclass
class Liar:
    """A host runner: the host answers the same to all, or to one action and to the others as it should."""

    output: bytes = b""
    status: int = 0
    stderr: bytes = b""
    action: str = ""
    python: str = "/usr/bin/python3"

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        return {host: self._result(host, command.for_host(host)) for host in hosts}

    def _result(self, host: str, words: list[str]) -> CommandResult:
        if self.action and self.action not in words:
            return CommandResult(host, 0, SOUND)
        return CommandResult(host, self.status, self.output, self.stderr)


def outcome(call: str, liar: Liar) -> DaccError | None:
    """The error of a call."""
    about: dict[str, Any] = {"context": Context(hosts=liar, deadline=Deadline.after(60)), "volume": VOLUME, "state": {}}
    clients = {**about, "hosts": ("c1",), "path": "/mnt/dac/7_job"}
    provider = GlusterProvider(GlusterSettings(seed="dac1"))
    calls: dict[str, Callable[[], Any]] = {
        "check_host": lambda: provider.check_host(CheckHost(context=about["context"], host="dac1", bricks=())),
        "create": lambda: provider.create(Create(context=about["context"], volume=VOLUME, owner=1, group=1)),
        "delete": lambda: provider.delete(Delete(**about)),
        "mount": lambda: provider.mount(Mount(**clients)).check(),
        "unmount": lambda: provider.unmount(Unmount(**clients)).check(),
        "usage": lambda: provider.usage(VolumeRequest(**about)),
        "restore": lambda: provider.restore(VolumeRequest(**about)),
    }
    try:
        calls[call]()
    except DaccError as error:
        return error
    return None


CALLS = ("check_host", "create", "delete", "mount", "unmount", "usage", "restore")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", NONSENSE)
def test_what_makes_no_sense_is_a_host_that_was_lost(call: str, what: str) -> None:
    error = outcome(call, Liar(NONSENSE[what]))

    assert type(error) is HostLost, error
    assert "makes no sense" in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [1, 30, 60, -9])
def test_what_a_program_tells_that_failed_counts_for_nothing(call: str, status: int) -> None:
    assert type(outcome(call, Liar(b"null", status))) is HostLost


@pytest.mark.parametrize(
    ("status", "kind"),
    [(10, InvalidRequest), (30, AlreadyExists), (40, Busy), (50, NoSpace), (60, Unavailable), (1, Unavailable), (-9, Unavailable)],
)
def test_a_helper_that_fails_says_so_by_its_status_and_why_on_standard_error(status: int, kind: type[DaccError]) -> None:
    error = outcome("mount", Liar(status=status, stderr=b"some\nreason\n"))

    assert type(error) is kind
    assert str(error) == "host c1: reason"


@pytest.mark.parametrize("output", [b"", b"x", b"UUID Hostname State\nx\n", b"\xff\nlocalhost\n"])
def test_a_pool_that_makes_no_sense_when_it_is_looked_at_again_is_a_host_that_was_lost(output: bytes) -> None:
    # The seed is another host, which is not in the first answer.
    liar = Liar(output, action="list")
    provider = GlusterProvider(GlusterSettings(seed="dac2"))
    with pytest.raises(HostLost, match="host dac1 was lost"):
        provider.create(Create(context=Context(hosts=liar, deadline=Deadline.after(60)), volume=VOLUME, owner=1, group=1))


@pytest.mark.parametrize("stderr", [b"\x1b]0;x\x07busy" + b"x" * 900_000, b"\xff\x00busy", "\u202ebusy".encode()])
def test_a_hosts_text_is_one_short_printable_line(stderr: bytes) -> None:
    error = outcome("unmount", Liar(status=40, stderr=stderr))

    assert str(error).isprintable()
    assert len(str(error)) < 1100


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.sampled_from(["room", "pool", "known", "why"]), one),
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(CALLS), st.binary() | ANYTHING.map(lambda made: json.dumps(made).encode()), st.integers(-20, 255), st.binary())
def test_whatever_a_host_answers_is_a_result_or_an_error_of_that_host(call: str, output: bytes, status: int, stderr: bytes) -> None:
    error = outcome(call, Liar(output, status, stderr))

    assert not isinstance(error, ProviderBug)
    assert error is None or isinstance(error, Unavailable) or status in (10, 30, 40, 50)
