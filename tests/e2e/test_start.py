"""How dacd starts, or says in a line for each problem why it does not."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import open_site
from .slurm import BIN, Answer, Slurm, succeeded


@pytest.fixture(scope="module")
def idle() -> Iterator[Slurm]:
    """A site whose daemons were not started."""
    with open_site(start=False, backing="none", hosts=1) as slurm:
        yield slurm


def dacd(slurm: Slurm, *args: str, **env: str) -> Answer:
    """A daemon that is expected to end by itself."""
    done = subprocess.run(
        [f"{BIN}/dacd", *args], env=slurm.site.env(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
    )
    return Answer(done.returncode, done.stdout)


def test_two_daemons_cannot_have_one_host_name(idle: Slurm) -> None:
    idle.site.start("dac1")
    try:
        pid = idle.site.daemons["dac1"].pid
        answer = dacd(idle, "--host", "dac1", "--socket", f"{idle.site.directory}/other.sock")
        assert answer.rc == 43
        (line,) = answer.output.splitlines()
        assert line == f"dacd: another dacd runs as host dac1 (pid {pid}): stop it, or give this one another name with --host"
        assert idle.site.daemons["dac1"].poll() is None
        succeeded(idle.call("pools", DACC_SOCKET=idle.site.socket("dac1")))
    finally:
        idle.site.stop("dac1")


def with_lock_of_its_own(slurm: Slurm) -> Path:
    """The configuration of another machine that has the same store."""
    settings = json.loads((slurm.site.directory / "dacc.yaml").read_text())
    settings["keystore"] = {"path": f"{settings['state_dir']}/store.db"}
    settings["state_dir"] = str(slurm.site.directory / "elsewhere")
    config = slurm.site.directory / "elsewhere.yaml"
    config.write_text(json.dumps(settings))
    return config


def test_two_daemons_that_share_no_lock_cannot_have_one_host_name(idle: Slurm) -> None:
    idle.site.configure(lease_ttl=1)
    idle.site.start("dac1")
    try:
        pid = idle.site.daemons["dac1"].pid
        before = idle.site.log("dac1")
        answer = dacd(idle, "--host", "dac1", "--socket", f"{idle.site.directory}/other.sock", DACC_CONFIG=str(with_lock_of_its_own(idle)))
        assert answer.rc == 43
        assert answer.output.splitlines()[-1] == (
            f"dacd: another dacd runs as host dac1 (pid {pid} on {socket.gethostname()}, says the keystore): "
            "stop it, or give this one another name with --host"
        )
        assert idle.site.log("dac1") == before
        succeeded(idle.call("pools", DACC_SOCKET=idle.site.socket("dac1")))
    finally:
        idle.site.stop("dac1")
        idle.site.configure()


def test_two_daemons_cannot_listen_on_one_socket(idle: Slurm) -> None:
    idle.site.start("dac1")
    try:
        answer = dacd(idle, "--host", "other", "--socket", idle.site.socket("dac1"))
        assert answer.rc == 40
        assert answer.output.splitlines()[-1].startswith(f"dacd: another daemon listens on {idle.site.socket('dac1')}")
    finally:
        idle.site.stop("dac1")


def test_a_daemon_that_was_killed_can_be_started_again_at_once(idle: Slurm) -> None:
    idle.site.start("dac1")
    idle.site.kill("dac1")
    idle.site.start("dac1")
    assert idle.site.ask("status", host="dac1")["hosts"][0]["alive"]
    idle.site.stop("dac1")


def test_every_problem_of_a_configuration_is_told_at_once(idle: Slurm) -> None:
    config = idle.site.directory / "bad.yaml"
    config.write_text("pools: {default: {granularity: 3.5TB}}\nbricks: {dac1: [{device: relative}]}\nlease_tll: 3\n")
    answer = dacd(idle, "--host", "dac1", DACC_CONFIG=str(config))
    assert answer.rc == 14
    for word in ("granularity", "provider", "relative", "lease_tll"):
        assert word in answer.output
    lines = answer.output.splitlines()
    assert len(lines) >= 4
    assert all(line.startswith(f"dacd: {config}:") for line in lines)


def test_a_configuration_that_is_not_there_is_named(idle: Slurm) -> None:
    answer = dacd(idle, "--config", "/nonexistent/dacc.yaml")
    assert answer == Answer(14, answer.output)
    (line,) = answer.output.splitlines()
    assert "/nonexistent/dacc.yaml" in line


def provider_package(place: Path, module: str) -> None:
    """A distribution that offers the provider ``broken``."""
    info = place / "dacc_provider_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dacc-provider-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dacc.providers]\nbroken = broken_provider\n")
    (place / "broken_provider.py").write_text(module)


def with_provider(slurm: Slurm, name: str) -> Path:
    """A configuration whose pool is served by this provider."""
    config = slurm.site.directory / f"{name}.yaml"
    brick = slurm.site.directory / "bricks" / "dac1" / "b0"
    config.write_text(
        f"state_dir: {slurm.site.directory}/{name}\npools: {{default: {{granularity: 1GiB, provider: {name}}}}}\n"
        f"bricks: {{dac1: [{{device: {brick}}}]}}\nmover_root: {slurm.site.directory}/movers\n"
        f"hosts: {{fence_dir: {slurm.site.directory}/fence}}\n"
    )
    return config


@pytest.mark.parametrize(
    ("module", "why"),
    [("import no_such_library", "no_such_library"), ("this is no Python", "invalid syntax"), ("", "")],
    ids=["import fails", "syntax error", "no hook"],
)
def test_a_configured_provider_that_cannot_load_stops_the_daemon_with_one_line(idle: Slurm, tmp_path: Path, module: str, why: str) -> None:
    provider_package(tmp_path, module)
    args = ("--host", "dac1", "--socket", f"{idle.site.directory}/p.sock")
    answer = dacd(idle, *args, DACC_CONFIG=str(with_provider(idle, "broken")), PYTHONPATH=str(tmp_path))
    assert answer.rc == 81
    (line,) = answer.output.splitlines()
    for word in ("broken", "dacc-provider-broken", "1.0", why):
        assert word in line


def test_a_provider_that_is_not_installed_is_named_with_the_package_to_install(idle: Slurm) -> None:
    args = ("--host", "dac1", "--socket", f"{idle.site.directory}/p.sock")
    answer = dacd(idle, *args, DACC_CONFIG=str(with_provider(idle, "nosuch")))
    assert answer.rc == 25
    (line,) = answer.output.splitlines()
    assert "dacc-provider-nosuch" in line


def test_a_broken_provider_that_no_pool_uses_stops_nothing(idle: Slurm, tmp_path: Path) -> None:
    provider_package(tmp_path, "import no_such_library")
    idle.site.start("dac1", PYTHONPATH=str(tmp_path))
    assert idle.site.ask("status", host="dac1")["hosts"][0]["alive"]
    idle.site.stop("dac1")
