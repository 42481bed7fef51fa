"""A call that ends half-way, between two commands or in the midst of one, is made again; or the volume is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from dacc_core.sdk import Busy, Command, CommandResult, HostRunner, Unavailable, Volume

from .conftest import JOB, NODES, Site

WELL = dict.fromkeys(NODES)


class Died(BaseException):
    """The daemon is gone."""


class Dying:
    """A runner whose daemon dies after so many commands."""

    def __init__(self, runner: HostRunner, after: int) -> None:
        self.runner, self.left = runner, after
        self.python = runner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        if self.left == 0:
            raise Died
        self.left -= 1
        return self.runner.run(hosts, command)


class Hasty:
    """A runner that ends every command after a moment, on the host, in the midst of what it does."""

    def __init__(self, runner: HostRunner, seconds: float) -> None:
        self.runner, self.seconds = runner, seconds
        self.python = runner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        return self.runner.run(hosts, replace(command, timeout=self.seconds))


def died(site: Site, volume: Volume, after: int, call: Any) -> bool:
    """Whether a call died after so many commands; otherwise it has ended."""
    try:
        call(volume, runner=Dying(site.context(volume).hosts, after))
    except Died:
        return True
    return False


def test_a_create_that_died_between_any_two_commands_goes_on(site: Site) -> None:
    volume = site.volume()
    after = 0
    while died(site, volume, after, site.create):
        after += 1
    assert after >= 2
    assert site.mount(volume).hosts == WELL
    site.write("c1", f"{JOB}/global/works", "")


def test_what_a_create_left_that_died_anywhere_can_be_deleted(site: Site) -> None:
    after = 0
    while died(site, volume := site.volume(bricks=1), after, site.create):
        after += 1
        site.delete(volume)
        assert site.left() == []
    assert after >= 2


def test_a_delete_that_died_between_any_two_commands_goes_on(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    after = 0
    while died(site, volume, after, site.delete):
        after += 1
    assert after > 2
    assert site.left() == []


@pytest.mark.parametrize("milliseconds", [120, 350, 700, 1100, 1600])
def test_commands_that_are_killed_in_their_midst_can_be_given_again(site: Site, milliseconds: int) -> None:
    volume = site.volume()

    hasty = Hasty(site.context(volume).hosts, milliseconds / 1000)
    with suppress(Unavailable, Busy):
        site.create(volume, runner=hasty)
    site.create(volume)
    site.mount(volume, runner=hasty)
    assert site.mount(volume).hosts == WELL
    site.write("c1", f"{JOB}/global/works", "")
    site.unmount(volume, runner=hasty)
    assert site.unmount(volume).hosts == WELL
    with suppress(Unavailable, Busy):
        site.delete(volume, runner=hasty)
    site.delete(volume)
    assert site.left() == []


@pytest.mark.parametrize("milliseconds", [100, 160, 700, 1100, 1600])
def test_what_a_create_left_that_was_killed_in_its_midst_can_be_deleted(site: Site, milliseconds: int) -> None:
    volume = site.volume()
    with suppress(Unavailable, Busy):
        site.create(volume, runner=Hasty(site.context(volume).hosts, milliseconds / 1000))
    site.delete(volume)
    assert site.left() == []
