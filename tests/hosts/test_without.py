"""Hosts that are left alone."""

from __future__ import annotations

from dacc_core.errors import HostUnreachable
from dacc_core.hosts.excluding import Without
from dacc_core.hosts.recorder import RecorderRunner
from dacc_core.sdk import Command


def test_no_command_reaches_a_host_that_was_given_up() -> None:
    recorder = RecorderRunner()
    results = Without(recorder, ("s1",)).run(("s1", "s2"), Command(["true"]))
    assert [call.host for call in recorder.calls] == ["s2"]
    assert isinstance(results["s1"].error, HostUnreachable)
    assert results["s2"].ok


def test_every_host_has_a_result_in_its_order() -> None:
    results = Without(RecorderRunner(), ("s2",)).run(("s3", "s2", "s1"), Command(["true"]))
    assert list(results) == ["s3", "s2", "s1"]


def test_nothing_is_run_when_no_host_is_left() -> None:
    recorder = RecorderRunner()
    assert list(Without(recorder, ("s1",)).run(("s1",), Command(["true"]))) == ["s1"]
    assert recorder.calls == []
