"""A daemon put together from its configuration, without running it."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dacc_core.config import parse_text
from dacc_core.daemon.protocol import SocketRequest
from dacc_core.daemon.service import Service, rules
from dacc_core.errors import Busy, HostNameTaken, InvalidRequest, NoSuchProvider, ProviderLoadError, Unavailable
from dacc_core.verbs.frontend import Answer, Call, PeerCredentials

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


def test_a_port_for_metrics_that_is_in_use_stops_the_daemon_before_it_makes_a_store(make: Make, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Busy, match=f"metrics.listen 127.0.0.1:{port}: somebody listens there already"):
            make(metrics={"listen": f"127.0.0.1:{port}"})
    assert not (tmp_path / "state").exists()


def test_every_answer_is_counted_by_program_function_and_code(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make()
    counted: list[tuple[str, str, int]] = []
    monkeypatch.setattr(service._telemetry.metrics, "called", lambda *call: counted.append(call[:3]))
    for program, args in (("other", ()), ("dacc", ("nonsense",)), ("fakewarp", ("--function", "teardown"))):
        service._handle(SocketRequest(program, Call(args, {}, PeerCredentials(uid=0, trusted=True))), lambda _: None)
    assert counted == [("other", "", 15), ("dacc", "", 15), ("fakewarp", "", 15)]


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


def test_a_configured_provider_that_does_not_exist_stops_the_daemon(make: Make) -> None:
    with pytest.raises((NoSuchProvider, InvalidRequest)):
        make(pools={"default": {"granularity": "64MiB", "provider": "nosuch"}})


def test_the_cores_numbers_are_the_settings(make: Make) -> None:
    service = make(deadlines={"create": 7, "teardown": 11}, retries={"attempts": 5})
    found = rules(service.config)
    assert (found.deadline("create"), found.teardown_budget, found.attempts) == (7.0, 11.0, 5)


def test_root_the_daemons_user_and_slurms_user_are_trusted(make: Make) -> None:
    service = make(slurm_user="games")
    assert [service._trusted(uid) for uid in (0, os.geteuid(), 5, 4242)] == [True, True, True, False]


@pytest.fixture
def running(make: Make) -> Iterator[tuple[Service, int]]:
    """A daemon that runs in a thread, and that thread."""
    service = make()
    thread = threading.Thread(target=service.run)
    thread.start()
    assert thread.ident is not None
    yield service, thread.ident
    service.stop()
    thread.join(20.0)


def test_the_core_is_looked_at_in_its_own_thread(running: tuple[Service, int]) -> None:
    service, thread = running
    assert service.executor.inquire(lambda _: threading.get_ident(), 20.0) == thread


def test_a_look_at_the_core_that_fails_finds_nothing_and_stops_nothing(running: tuple[Service, int]) -> None:
    service, _ = running

    def broken(_: object) -> int:
        raise RuntimeError("a defect")

    assert service.executor.inquire(broken, 20.0) is None
    assert service.executor.inquire(lambda core: core.host, 20.0) == "h1"


def test_a_core_that_does_not_run_is_waited_for_so_long_only(make: Make) -> None:
    assert make().executor.inquire(lambda core: core.host, 0.01) is None


def test_a_program_that_is_not_served_is_told_so(make: Make) -> None:
    service = make()
    answers: list[Answer] = []
    service._handle(SocketRequest("other", Call((), {}, PeerCredentials(uid=0))), answers.append)
    assert (answers[0].rc, "does not serve it" in answers[0].stdout) == (15, True)


def test_a_call_that_cannot_be_parsed_is_answered_at_once(make: Make) -> None:
    service = make()
    answers: list[Answer] = []
    service._handle(SocketRequest("dacc", Call(("nonsense",), {}, PeerCredentials(uid=0))), answers.append)
    assert (answers[0].rc, "is no verb" in answers[0].stdout) == (15, True)


@pytest.mark.parametrize(("waited", "seconds"), [(0.0, 290.0), (100.0, 190.0), (1000.0, 0.5)])
def test_a_call_that_comes_again_has_as_much_less_time_as_its_caller_has_waited(
    make: Make, monkeypatch: pytest.MonkeyPatch, waited: float, seconds: float
) -> None:
    service = make()
    asked: list[float] = []
    monkeypatch.setattr(service.executor, "call", lambda verb, seconds, *_: asked.append(seconds))
    args = ("--function", "teardown", "--token", "7")
    service._handle(SocketRequest("fakewarp", Call(args, {}, PeerCredentials(uid=0, trusted=True), age=lambda: waited)), lambda _: None)
    assert asked == [seconds]


BROKEN = "import no_such_library"
OBSERVING = """
from dacc_core.sdk import hookimpl
from dacc_fake import FakeProvider

class Watched(FakeProvider):
    name = "watched"

@hookimpl
def dacc_register_provider():
    return Watched

@hookimpl
def dacc_step_finished(event): ...
"""


def package(site: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers the provider ``name``."""
    info = site / f"dacc_provider_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dacc-provider-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dacc.providers]\n{name} = provider_{name}\n")
    (site / f"provider_{name}.py").write_text(source)
    monkeypatch.syspath_prepend(site)


def test_a_broken_provider_that_nobody_uses_hurts_nobody(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "broken", BROKEN, monkeypatch)
    make()


def test_with_strict_plugins_a_broken_provider_that_nobody_uses_stops_the_daemon(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "broken", BROKEN, monkeypatch)
    monkeypatch.setenv("DACC_STRICT_PLUGINS", "1")
    with pytest.raises(ProviderLoadError, match=r"of dacc-provider-broken 1\.0: ModuleNotFoundError"):
        make()


def test_with_strict_plugins_a_disabled_broken_provider_stops_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "broken", BROKEN, monkeypatch)
    monkeypatch.setenv("DACC_STRICT_PLUGINS", "1")
    make(plugins={"disabled": ["broken"]})


def test_a_disabled_provider_of_a_pool_stops_the_daemon(make: Make) -> None:
    with pytest.raises(ProviderLoadError, match=r"plugins\.disabled names it"):
        make(plugins={"disabled": ["fake"]})


def test_the_observers_of_a_provider_are_called_once_it_is_loaded(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "watched", OBSERVING, monkeypatch)
    assert not make()._telemetry.observers.wants("dacc_step_finished")
    pools = {"default": {"granularity": "64MiB", "provider": "watched"}}
    service = make(host="h2", pools=pools, providers={"watched": {"backing": "none"}}, bricks={})
    assert service._telemetry.observers.wants("dacc_step_finished")
    assert not service._telemetry.observers.wants("dacc_session_changed")
