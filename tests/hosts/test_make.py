"""The runner that the configuration chooses, and settings that contradict each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dacc_core.config import parse_text
from dacc_core.errors import BadConfig
from dacc_core.hosts import LocalRunner
from dacc_core.hosts.factory import runner_for
from dacc_core.hosts.openssh import OpenSshRunner
from dacc_core.hosts.remote import RemoteRunner, SshAccess, access_of
from dacc_core.hosts.ssh import SshRunner


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def problem(settings: str) -> str:
    """What is wrong with a section ``hosts``, without its place."""
    with pytest.raises(BadConfig) as bad:
        parse_text(f"hosts: {{{settings}}}", "dacc.yaml")
    (line,) = str(bad.value).splitlines()
    return line.partition(" ")[2]


def made(settings: str) -> object:
    return runner_for(parse_text(f"hosts: {{{settings}}}", "dacc.yaml"))


def test_without_a_choice_hosts_are_this_machine(place: Path) -> None:
    runner = made("")
    assert type(runner) is LocalRunner
    assert runner.python == sys.executable


@pytest.mark.parametrize(("name", "kind"), [("ssh", SshRunner), ("openssh", OpenSshRunner)])
def test_ssh_runners_know_how_hosts_are_reached(place: Path, name: str, kind: type[RemoteRunner]) -> None:
    for file in ("key", "known"):
        (place / file).touch()
    settings = "addresses: {'c[1-2],d': '%h-ib', x: 10.0.0.7}, port: 2222, user: dacc, connect_timeout: 3"
    runner = made(f"runner: {name}, {settings}, identity: {place}/key, known_hosts: {place}/known, fence_dir: /f")
    assert type(runner) is kind
    addresses = {"c1": "%h-ib", "c2": "%h-ib", "d": "%h-ib", "x": "10.0.0.7"}
    assert runner.access == SshAccess(addresses, 2222, "dacc", f"{place}/key", f"{place}/known", 3.0)
    assert runner.python == "/usr/bin/python3"


def test_a_configuration_file_of_ssh_is_for_the_program(place: Path) -> None:
    (place / "config").touch()
    runner = made(f"runner: openssh, ssh_config: {place}/config")
    assert isinstance(runner, OpenSshRunner)
    assert runner._command(runner.access.endpoint("c1"))[:3] == ["ssh", "-F", f"{place}/config"]


def test_the_guides_example_is_right() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/install.md").read_text("utf-8")
    (example,) = re.findall(r"^```yaml hosts\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    access = access_of(parse_text(example, "dacc.yaml").hosts)
    assert [access.endpoint(host).address for host in ("c1", "c64", "dac1")] == ["c1-ib", "c64-ib", "dac1"]


@pytest.mark.parametrize("name", ["identity", "known_hosts", "ssh_config"])
def test_a_file_that_does_not_exist_is_named_at_the_start(place: Path, name: str) -> None:
    with pytest.raises(BadConfig, match=rf"dacc.yaml:1:\d+: hosts.{name}: /nonexistent does not exist"):
        made(f"runner: openssh, {name}: /nonexistent")


def test_a_missing_program_is_named_at_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(BadConfig, match="openssh needs the program ssh"):
        made("runner: openssh")


def test_a_missing_asyncssh_is_named_at_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dacc_core.hosts.ssh")
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(BadConfig, match="ssh needs the Python package asyncssh"):
        made("runner: ssh")


def test_asyncssh_is_imported_only_when_it_is_chosen() -> None:
    script = "import sys, dacc_core.hosts, dacc_core.hosts.factory; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("runner: ssh, namespace: /x/%h", "hosts.namespace: is for the runner local, not ssh: leave it out"),
        ("port: 23", "hosts.port: is for the runners ssh and openssh: set hosts.runner, or leave it out"),
        ("known_hosts: /k", "hosts.known_hosts: is for the runners ssh and openssh: set hosts.runner, or leave it out"),
        ("runner: ssh, ssh_config: /c", "hosts.ssh_config: is for the runner openssh, and ssh reads no such file"),
        ("runner: ssh, addresses: {'c[1-3]': a, 'c[3-4]': b}", 'hosts.addresses."c[3-4]": host c3 is also in c[1-3]: keep one'),
        ("runner: ssh, addresses: {c1: '%x'}", "hosts.addresses.c1: %x means nothing: %h is the host's name, %% is a %"),
        ("runner: ssh, addresses: {c1: '-oProxyCommand=x'}", "hosts.addresses.c1: '-oProxyCommand=x' is no address: write a name"),
        ("runner: ssh, addresses: {c1: root@c1}", "hosts.addresses.c1: 'root@c1' is no address: write a name"),
        ("runner: ssh, user: -x", "hosts.user: '-x' is no user's name"),
        ("runner: ssh, port: 70000", "hosts.port: must be at most 65535, not 70000"),
        ("runner: ssh, python: /a b", "hosts.python: must be a path of letters, digits and _ . / + -, not '/a b': a shell reads it there"),
        ("runner: rsh", "hosts.runner: must be one of local, ssh, openssh, not 'rsh'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: str, text: str) -> None:
    assert problem(settings).startswith(text)


def test_a_command_line_that_needs_no_host_does_not_load_the_engine() -> None:
    script = "import sys, dacc_core.cli.main; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
