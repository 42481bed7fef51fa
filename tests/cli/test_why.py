"""``dacc why`` as people read it."""

from __future__ import annotations

import json
import time

import pytest

from .answers import invoke

AT = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
EVENT = {"at": AT, "what": "mount", "host": "c1", "seconds": 1.0, "error": "", "text": "mounted it on c1 in 1.0 s"}
ENDED = {
    "token": "42",
    "owner": 0,
    "outcome": "quarantined",
    "ended": AT,
    "reason": "no answer",
    "kept": "",
    "pre_run_failures": 0,
    "events": [EVENT],
}
LIVING = {
    "token": "42",
    "owner": 0,
    "kind": "persistent",
    "goal": "pre_run",
    "desired": "a filesystem",
    "waits_for": "nothing",
    "used_by": ["7", "8"],
    "events": [EVENT],
    "before": None,
}


def test_a_session_is_told_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = invoke(monkeypatch, "why", LIVING, "why", "42")
    assert result.stdout.splitlines() == [
        "session 42 of root (uid 0), persistent",
        "used by:   7, 8",
        "desired:   a filesystem (pre_run)",
        "waits for: nothing",
        "2026-01-02 03:04:05  mounted it on c1 in 1.0 s",
    ]
    assert asked == [("why", "42")]


def test_a_session_that_has_ended_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "why", ENDED, "why", "42")
    assert result.stdout.splitlines()[0] == "session 42 ended 2026-01-02 03:04:05, quarantined: no answer"


def test_where_the_data_of_an_ended_session_is_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "why", {**ENDED, "kept": "kept-a0010000"}, "why", "42")
    assert "its data: see dacc why kept-a0010000\n" in result.stdout


def test_failures_of_pre_run_are_told_with_what_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "why", {**ENDED, "outcome": "", "pre_run_failures": 3}, "why", "42")
    assert result.stdout.splitlines()[0] == "pre_run failed 3 times in a row (dacc retry 42 forgets that)"


def test_what_came_before_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "why", {**LIVING, "before": ENDED}, "why", "42")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("session 42 ended")
    assert lines[2].startswith("session 42 of root")


def test_json_is_what_the_daemon_says(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = invoke(monkeypatch, "why", LIVING, "why", "42", "--json")
    assert json.loads(result.stdout) == LIVING
