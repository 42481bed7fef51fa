"""Running commands as a provider does: per host, within the deadline, with errors that name the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from dacc_core.sdk import Cancelled, Command, CommandResult, Context, Deadline, HostUnreachable, PerHost, Unavailable


class Hosts:
    """A host runner on which the commands in ``bad`` fail, each on one host."""

    python = "python3"

    def __init__(self, **bad: str) -> None:
        self.bad = bad
        self.ran: list[tuple[tuple[str, ...], str]] = []
        self.timeouts: list[float] = []

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        name = command.for_host("")[0]
        self.ran.append((tuple(hosts), name))
        self.timeouts.append(command.timeout)
        return {host: CommandResult(host, int(self.bad.get(name) == host), stderr=b"noise\nno room\n") for host in hosts}


def context(hosts: Hosts, seconds: float = 60.0) -> Context:
    return Context(hosts=hosts, deadline=Deadline(100.0 + seconds, lambda: 100.0))


def test_commands_run_one_after_the_other_on_all_hosts() -> None:
    hosts = Hosts()
    assert context(hosts).run(["a", "b"], ["one"], ["two"]).hosts == {"a": None, "b": None}
    assert hosts.ran == [(("a", "b"), "one"), (("a", "b"), "two")]


def test_a_host_on_which_one_fails_gets_no_further_ones() -> None:
    hosts = Hosts(one="a")
    outcome = context(hosts).run(["a", "b"], ["one"], ["two"])
    assert hosts.ran[1] == (("b",), "two")
    assert {host: str(error) for host, error in outcome.failed.items()} == {"a": "host a: no room"}


def test_nothing_runs_when_all_hosts_have_failed() -> None:
    hosts = Hosts(one="a")
    context(hosts).run(["a"], ["one"], ["two"])
    assert len(hosts.ran) == 1


def test_a_command_gets_no_more_time_than_the_deadline_leaves() -> None:
    hosts = Hosts()
    context(hosts, seconds=5.0).run(["a"], ["one"], timeout=30.0)
    context(hosts).run(["a"], ["one"], timeout=30.0)
    assert hosts.timeouts == [5.0, 30.0]


def test_nothing_is_begun_after_the_deadline() -> None:
    hosts = Hosts()
    with pytest.raises(Unavailable, match="did not end before its deadline"):
        context(hosts, seconds=0.0).run(["a"], ["one"])
    assert hosts.ran == []


def test_nothing_is_begun_once_cancelled() -> None:
    hosts = Hosts()
    asked = context(hosts)
    asked.cancel.cancel()
    with pytest.raises(Cancelled):
        asked.run(["a"], ["one"])
    assert hosts.ran == []


def test_a_host_that_could_not_run_the_command_keeps_its_own_error() -> None:
    error = HostUnreachable(host="a", why="no route to host")
    assert PerHost.of({"a": CommandResult("a", -1, error=error)}).hosts == {"a": error}


def test_the_first_error_is_raised_when_asked_for() -> None:
    with pytest.raises(Unavailable, match=r"^host a: no room$"):
        context(Hosts(one="a")).run(["a", "b"], ["one"]).check()


def test_no_error_is_raised_where_all_went_well() -> None:
    context(Hosts()).run(["a", "b"], ["one"]).check()
