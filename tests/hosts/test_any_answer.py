"""Answers of hosts are data of strangers: whatever bytes come, a call ends with a result or an error, in texts that anything can take."""

from __future__ import annotations

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_core.errors import DaccError, HostLost
from dacc_core.hosts import ssh
from dacc_core.hosts.base import HelperCall, HelperReply, read_fence, read_run
from dacc_core.hosts.on_host import fence
from dacc_core.hosts.openssh import explain
from dacc_core.hosts.process import MAX_OUTPUT, ProcessResult
from dacc_core.hosts.remote import READY, HelperSession, SshAccess
from dacc_core.sdk import CommandResult

ENDPOINT = SshAccess().endpoint("h1")
MOST_TEXT = 2000
"""Characters of an error that quotes a host once."""

# Noise alone hardly ever comes near what our helper answers.
pieces = st.lists(st.one_of(st.binary(), st.sampled_from([READY, b"\n", b" 7\n", b" 999\n", b"\x1b[2J", b"\n" + fence.WORDS.encode()])))
ends = st.lists(st.one_of(st.binary(), st.sampled_from([b" ", b"7", b"0", b"256", b"\n"])), max_size=4).map(b"".join)


def clean(error: DaccError | None) -> bool:
    return error is None or (str(error).isprintable() and len(str(error)) <= MOST_TEXT and str(error).encode() != b"")


def session() -> HelperSession:
    return HelperSession("h1", HelperCall(["run"], "true on h1", 9.0), 9.0)


def result_of(call: HelperSession) -> CommandResult:
    """What a command's caller gets."""
    try:
        return read_run("h1", "true on h1", call.outcome()).result
    except HostLost as error:
        return CommandResult("h1", -1, error=error)


def mark_of(call: HelperSession) -> bytes:
    assert call.stdin is not None
    words = call.stdin.split(b"\0")
    return fence.closing(words[words.index(b"--attached") + 1].decode())


@given(pieces, pieces)
def test_a_host_that_answers_anything_is_lost(stdout: list[bytes], stderr: list[bytes]) -> None:
    call = session()
    for piece in stdout:
        call.receive(piece)
    for piece in stderr:
        call.receive_error(piece)
    assert call.started == (READY in b"".join(stdout))
    assert not call.finished  # nobody knows the mark
    result = result_of(call)
    assert isinstance(result.error, HostLost)
    assert clean(result.error)
    assert call.last_line().isprintable()


@given(pieces, pieces, ends)
def test_a_host_that_ends_a_call_in_any_way_has_a_result_or_is_lost(stdout: list[bytes], stderr: list[bytes], end: bytes) -> None:
    call = session()
    call.receive(READY)
    mark = mark_of(call)
    for piece in [*stdout, mark]:
        call.receive(piece)
    for piece in [*stderr, mark, end]:
        call.receive_error(piece)
    result = result_of(call)
    assert clean(result.error)
    assert clean(result.failure())
    assert -1 <= result.returncode <= 255
    assert len(result.stdout) <= MAX_OUTPUT


@pytest.mark.parametrize("status", [b" 256\n", b" 999\n"])
def test_a_number_that_is_no_exit_status_is_no_answer(status: bytes) -> None:
    call = session()
    call.receive(READY)
    mark = mark_of(call)
    call.receive(mark)
    call.receive_error(mark + status)
    assert isinstance(result_of(call).error, HostLost)


@given(st.binary(), st.lists(st.integers(min_value=1, max_value=5)))
def test_pieces_of_a_stream_come_out_as_they_went_in(data: bytes, sizes: list[int]) -> None:
    """The end of a stream is seen wherever it is cut, and nothing before it is lost."""
    call = session()
    call.receive(READY)
    text, place = data + mark_of(call), 0
    for size in sizes:
        call.receive(text[place : place + size])
        place += size
    call.receive(text[place:])
    assert call.stdout == data


@given(st.integers(-64, 255), st.binary(), st.binary(), st.booleans())
def test_any_end_of_a_helper_is_a_reply_in_clean_words(status: int, stdout: bytes, noise: bytes, spoken: bool) -> None:
    stderr = b"\n" + fence.WORDS.encode() + noise if spoken else noise
    reply = read_run("h1", "true on h1", ProcessResult(status, stdout, stderr))
    assert isinstance(reply, HelperReply)
    assert clean(reply.result.failure())
    assert clean(read_fence("h1", CommandResult("h1", status, stdout, stderr)))


@given(st.binary())
def test_what_the_program_ssh_prints_is_explained_in_clean_words(stderr: bytes) -> None:
    call = session()
    call.receive_error(stderr)
    text = explain(ENDPOINT, call)
    assert text.isprintable()
    assert len(text) <= MOST_TEXT


@given(st.text())
def test_what_a_server_says_when_it_hangs_up_is_explained_in_clean_words(text: str) -> None:
    errors = [asyncssh.DisconnectError(2, text), asyncssh.ChannelOpenError(2, text), OSError(text), asyncssh.ProtocolError(text)]
    for explained in [ssh.explain(ENDPOINT, error) for error in errors] + [ENDPOINT.lost(ssh.reason(error)) for error in errors]:
        assert explained.isprintable()
        assert len(explained) <= MOST_TEXT
