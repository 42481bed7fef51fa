"""``dacc hosts``, ``drain`` and ``undrain`` as people read them."""

from __future__ import annotations

import json

import pytest

from .answers import invoke

BRICK = {"device": "/b0", "pool": "p", "capacity": 1, "state": "quarantined", "session": "", "reason": "session 7: no answer"}
HOST = {
    "name": "dac1",
    "state": "draining",
    "providers": {"fake": "1.0"},
    "bricks": [BRICK],
    "free": 2,
    "taken": 3,
    "quarantined": 4,
    "coordinates": ["42", "43"],
}


def test_hosts_are_a_table_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = invoke(monkeypatch, "hosts", [HOST], "hosts")
    (row,) = (line for line in result.stdout.splitlines() if "dac1 " in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == ["dac1", "draining", "fake 1.0", "1", "2", "3", "4", "2"]
    assert asked == [("hosts",)]


def test_why_a_brick_is_in_quarantine_is_said_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "hosts", [HOST], "hosts", "dac[1-2]")
    assert "in quarantine: dac1:/b0: session 7: no answer\n" in result.stdout


def test_hosts_as_json_are_what_the_daemon_says(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = invoke(monkeypatch, "hosts", [HOST], "hosts", "dac[1-2]", "--json")
    assert json.loads(result.stdout) == [HOST]
    assert asked == [("hosts", "dac[1-2]")]


@pytest.mark.parametrize(
    ("verb", "changed", "sessions", "line"),
    [
        ("drain", True, ["42"], "dac1: draining, sessions that have bricks there go on: 42\n"),
        ("drain", True, [], "dac1: draining, no session has bricks there\n"),
        ("drain", False, [], "dac1: was draining already, no session has bricks there\n"),
        ("undrain", True, [], "dac1: takes new sessions again\n"),
        ("undrain", False, [], "dac1: took new sessions already\n"),
    ],
)
def test_drain_and_undrain_say_what_they_did(
    monkeypatch: pytest.MonkeyPatch, verb: str, changed: bool, sessions: list[str], line: str
) -> None:
    answer = [{"host": "dac1", "changed": changed, "sessions": sessions}]
    result, asked = invoke(monkeypatch, "hosts", answer, verb, "dac1")
    assert result.stdout == line
    assert asked == [(verb, "dac1")]
