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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dacc_gluster import GlusterProvider
from dacc_gluster.settings import GlusterSettings

POOL = {"own": "id1", "known": ["id1"], "connected": ["id1"]}
SOUND = {"room": 1, "pool": POOL}


def result(**fields: Any) -> bytes:
    return json.dumps({"result": fields}).encode()


NONSENSE = {
    "nothing": b"",
    "no JSON": b"\x00\xff\xfe garbage",
    "half an answer": b'{"result": {"room": 1, "po',
    "a list": b"[1, 2]",
    "no result": b"{}",
    "other fields": result(x=1),
    "a lone surrogate": b'{"result": {"known": false, "why": "\\udcff"}}',
    "a text for a truth": result(known="yes", why=""),
    "room beyond reason": result(room=10**300, pool=POOL),
    "room below nothing": result(room=-1, pool=POOL),
    "a pool that is a number": result(room=1, pool=1),
    "a pool without the host": result(room=1, pool={**POOL, "own": 1}),
    "a pool with more": result(pool={**POOL, "more": 1}),
    "an error that no host may raise": b'{"error": "ProviderBug", "text": "x"}',
}
VOLUME = Volume(name="t0000001", pool="p", provider="gluster", capacity=1, bricks=(BrickRef(host="dac1", device="/dev/x"),))


@dataclass
class Liar:
    """A host runner: hosts give the same answer to all, or to one verb and to the others as they should."""

    output: bytes = b""
    status: int = 0
    stderr: bytes = b""
    verb: str = ""
    python: str = "/usr/bin/python3"

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        verb = command.stdin.decode().rpartition("\nanswer_sent('")[2].partition("'")[0]
        if self.verb and verb != self.verb:
            return {host: CommandResult(host, 0, result() if verb == "peer-probe" else result(**SOUND)) for host in hosts}
        return {host: CommandResult(host, self.status, self.output, self.stderr) for host in hosts}


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


@pytest.mark.parametrize("kind", [InvalidRequest, AlreadyExists, Busy, NoSpace, Unavailable])
def test_a_verb_that_fails_says_so_by_the_errors_name(kind: type[DaccError]) -> None:
    error = outcome("mount", Liar(json.dumps({"error": kind.__name__, "text": "reason"}).encode()))

    assert type(error) is kind
    assert str(error) == "host c1: reason"


@pytest.mark.parametrize("output", [b"", b"x", result(pool=POOL), result(**{**POOL, "known": "id1"})])
def test_a_pool_that_makes_no_sense_when_it_is_looked_at_again_is_a_host_that_was_lost(output: bytes) -> None:
    # The seed is another host, which is not in the first answer.
    liar = Liar(output, verb="pool")
    provider = GlusterProvider(GlusterSettings(seed="dac2"))
    with pytest.raises(HostLost, match="host dac1 was lost"):
        provider.create(Create(context=Context(hosts=liar, deadline=Deadline.after(60)), volume=VOLUME, owner=1, group=1))


KEYS = ["result", "error", "text", "failed", "room", "pool", "own", "known", "connected", "why"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.sampled_from(KEYS), one),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(st.sampled_from(CALLS), st.binary() | ANYTHING.map(lambda made: json.dumps(made).encode()), st.integers(-20, 255), st.binary())
def test_whatever_a_host_answers_is_a_result_or_an_error_of_that_host(call: str, output: bytes, status: int, stderr: bytes) -> None:
    error = outcome(call, Liar(output, status, stderr))

    assert not isinstance(error, ProviderBug)
    assert error is None or isinstance(error, Unavailable)
