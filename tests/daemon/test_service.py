"""A daemon put together from its configuration, without running it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacc_core.config import parse_text
from dacc_core.daemon.protocol import Request
from dacc_core.daemon.service import Service, rules
from dacc_core.errors import HostNameTaken, InvalidRequest, NoSuchProvider, ProviderLoadError, Unavailable
from dacc_core.registry.calls import Answer, Call, Caller

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[Service] = []

    def service(host: str = "h1", **more: Any) -> Service:
        brick = tmp_path / "b0"
        brick.mkdir(exist_ok=True)
        settings = {
            "state_dir": str(tmp_path / "state"),
            "socket": str(tmp_path / "s.sock"),
            "mover_root": str(tmp_path / "movers"),
            "mount_root": str(tmp_path / "mnt"),
            "hosts": {"fence_dir": str(tmp_path / "fence")},
            "pools": {"default": {"granularity": "64MiB", "provider": "fake"}},
            "bricks": {"h1": [{"device": str(brick)}]},
            "providers": {"fake": {"backing": "none"}},
            **more,
        }
        made.append(Service(parse_text(json.dumps(settings), "test.yaml", {}), host))
        return made[-1]

    yield service
    for one in made:
        one._close()
        os.close(one._lock)


def test_the_state_directory_belongs_to_the_configured_group(make: Make, tmp_path: Path) -> None:
    make(group=str(os.getgid()) if os.getuid() else "games")
    found = (tmp_path / "state").stat()
    assert stat.S_IMODE(found.st_mode) == 0o2770
    assert found.st_gid == (os.getgid() if os.getuid() else 60)


def test_a_second_daemon_of_the_same_name_is_refused_and_told_who_runs(make: Make) -> None:
    make()
    with pytest.raises(HostNameTaken, match=f"another dacd runs as host h1 .pid {os.getpid()}."):
        make()


def test_two_names_may_share_a_machine(make: Make) -> None:
    assert (make("h1").host, make("h2").host) == ("h1", "h2")


def test_a_host_that_cannot_serve_its_bricks_offers_none(make: Make) -> None:
    faults = [{"call": "check_host", "times": 0, "error": "Unavailable", "text": "no loop devices"}]
    with pytest.raises(Unavailable, match="no loop devices"):
        make(providers={"fake": {"backing": "none", "faults": faults}})


def test_a_host_without_bricks_is_not_checked(make: Make) -> None:
    faults = [{"call": "check_host", "times": 0, "error": "Unavailable", "text": "no loop devices"}]
    make("controller", providers={"fake": {"backing": "none", "faults": faults}})


@pytest.mark.parametrize(("provider", "error"), [("nosuch", (NoSuchProvider, InvalidRequest)), ("lustre", ProviderLoadError)])
def test_a_configured_provider_that_cannot_be_used_stops_the_daemon(make: Make, provider: str, error: Any) -> None:
    with pytest.raises(error):
        make(pools={"default": {"granularity": "64MiB", "provider": provider}})


def test_the_cores_numbers_are_the_settings(make: Make) -> None:
    service = make(deadlines={"create": 7, "teardown": 11}, retries={"attempts": 5})
    found = rules(service.config)
    assert (found.deadline("create"), found.teardown_budget, found.attempts) == (7.0, 11.0, 5)


def test_root_the_daemons_user_and_slurms_user_are_trusted(make: Make) -> None:
    service = make(slurm_user="games")
    assert [service._trusted(uid) for uid in (0, os.geteuid(), 5, 4242)] == [True, True, True, False]


def test_a_program_that_is_not_served_is_told_so(make: Make) -> None:
    service = make()
    answers: list[Answer] = []
    service._handle(Request("other", Call((), {}, Caller(uid=0))), answers.append)
    assert (answers[0].rc, "does not serve it" in answers[0].stdout) == (15, True)


def test_a_call_that_cannot_be_parsed_is_answered_at_once(make: Make) -> None:
    service = make()
    answers: list[Answer] = []
    service._handle(Request("dacc", Call(("nonsense",), {}, Caller(uid=0))), answers.append)
    assert (answers[0].rc, "is no verb" in answers[0].stdout) == (15, True)
