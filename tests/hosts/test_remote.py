"""What is special about hosts that are reached over ssh: keys, connections that end, and what goes over them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dacc_core.errors import Cancelled, HostLost, HostUnreachable
from dacc_core.hosts import base, ssh
from dacc_core.hosts.engine import ENGINE, HostEngine
from dacc_core.hosts.on_host import fence
from dacc_core.hosts.openssh import OpenSshRunner
from dacc_core.hosts.remote import BOOTSTRAP, HelperSession, RemoteRunner, SshAccess, helper_program, remote_command
from dacc_core.sdk import CancelToken, Command, CommandResult

from .conftest import MakeRemote, Wait
from .sshd import ADDRESS, Sshd, below, free_port, make_key, name_of, public

KINDS = pytest.mark.parametrize("kind", ["openssh", "ssh"])


@pytest.fixture(params=["openssh", "ssh"])
def remote(request: pytest.FixtureRequest, sshd: Sshd, make_remote: MakeRemote) -> RemoteRunner:
    return make_remote(request.param, sshd.access())


@pytest.fixture
def pooled(sshd: Sshd, make_remote: MakeRemote) -> ssh.SshRunner:
    runner = make_remote("ssh", sshd.access())
    assert isinstance(runner, ssh.SshRunner)
    return runner


def alive(pid: int) -> bool:
    entry = fence.process(pid)
    return entry is not None and entry[0] not in "ZX"


def why(result: CommandResult) -> str:
    """Why a host could not be reached: one line of a HostUnreachable, that is not a HostLost."""
    assert type(result.error) is HostUnreachable, result
    text = str(result.error)
    assert "\n" not in text
    return text


# --- hosts that cannot be reached ---


@KINDS
def test_an_unknown_host_key_is_refused_with_the_file_that_lacks_it(
    kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path
) -> None:
    known = tmp_path / "known hosts"
    known.write_text(f"b {public(sshd.directory / 'host')}")
    results = make_remote(kind, sshd.access(known_hosts=str(known))).run(["a", "b"], Command(["true"]))
    assert f"no host key of a (of sshd on {ADDRESS} port {sshd.port}) is in {known}" in why(results["a"])
    assert results["b"].ok


@KINDS
def test_a_changed_host_key_is_refused(kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"a {public(tmp_path / 'other')}")
    text = why(make_remote(kind, sshd.access(known_hosts=str(known))).run(["a"], Command(["true"]))["a"])
    assert f"the host key of sshd on {ADDRESS} port {sshd.port} is not that of a in {known}" in text


@KINDS
def test_a_host_key_counts_for_the_hosts_name_and_not_for_its_address(
    kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path
) -> None:
    key = public(sshd.directory / "host")
    known = tmp_path / "known"
    known.write_text(f"{ADDRESS} {key}[{ADDRESS}]:{sshd.port} {key}[a]:{sshd.port} {key}")
    assert "no host key of a" in why(make_remote(kind, sshd.access(known_hosts=str(known))).run(["a"], Command(["true"]))["a"])


@KINDS
def test_a_hashed_host_key_is_found(kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"x {public(sshd.directory / 'host')}a {public(sshd.directory / 'host')}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert make_remote(kind, sshd.access(known_hosts=str(known))).run(["a"], Command(["true"]))["a"].ok


@KINDS
def test_a_revoked_host_key_is_refused(kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"a {public(sshd.directory / 'host')}@revoked * {public(sshd.directory / 'host')}")
    text = why(make_remote(kind, sshd.access(known_hosts=str(known))).run(["a"], Command(["true"]))["a"])
    assert f"is marked as revoked in {known}" in text


@KINDS
@pytest.mark.parametrize("content", ["", "rubbish\n"])
def test_an_identity_that_is_no_key_is_named(kind: str, content: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(content)
    text = why(make_remote(kind, sshd.access(identity=str(tmp_path / "key"))).run(["a"], Command(["true"]))["a"])
    assert f"the key {tmp_path / 'key'} cannot be used" in text


@KINDS
def test_a_key_that_the_host_does_not_know_is_named(kind: str, sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    access = sshd.access(identity=str(tmp_path / "stranger"))
    text = why(make_remote(kind, access).run(["a"], Command(["true"]))["a"])
    assert f"sshd on {ADDRESS} port {sshd.port} refuses the key {tmp_path / 'stranger'} for user {access.user}" in text


@KINDS
def test_a_port_where_nothing_listens_is_named(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    port = free_port()
    assert f"nothing listens on {ADDRESS} port {port}" in why(make_remote(kind, sshd.access(port=port)).run(["a"], Command(["true"]))["a"])


@KINDS
def test_a_host_that_never_answers_costs_its_own_time_only(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    heard = threading.Event()
    in_time: list[bool] = []
    with socket.socket() as mute:
        mute.bind(("127.0.0.2", sshd.port))
        mute.listen()
        access = sshd.access(addresses={"mute": "127.0.0.2", "a": ADDRESS}, connect_timeout=3.0)
        runner = make_remote(kind, access)
        thread = threading.Thread(target=lambda: in_time.append(heard.wait(2.5)))
        thread.start()
        results = runner.run(["mute", "a"], Command(["echo", "here"], on_output=lambda _: heard.set()))
        thread.join()
    assert f"127.0.0.2 port {sshd.port} did not answer within 3 s" in why(results["mute"])
    assert in_time == [True]


@KINDS
def test_a_host_without_python_is_told_so(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    runner = make_remote(kind, sshd.access(), python="/nonexistent/python3")
    assert f"/nonexistent/python3 cannot be started on {ADDRESS}" in why(runner.run(["a"], Command(["true"]))["a"])


@KINDS
def test_a_user_who_may_not_run_commands_is_told_so(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    # What nologin does.
    runner = make_remote(kind, sshd.access(), python="/bin/sh -c 'echo no account for you; exit 1' #")
    assert f"cannot run commands on {ADDRESS} port {sshd.port}: no account for you" in why(runner.run(["a"], Command(["true"]))["a"])


@KINDS
def test_a_host_that_cannot_be_reached_cannot_be_fenced(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    outcome = make_remote(kind, sshd.access(port=free_port())).fence(["a"], "key", 2)
    assert isinstance(outcome["a"], HostUnreachable)


@KINDS
def test_what_was_never_started_leaves_nothing_unsure(kind: str, sshd: Sshd, make_remote: MakeRemote) -> None:
    fenced = make_remote(kind, sshd.access(port=free_port())).fenced("key", 1, CancelToken())
    fenced.run(["a"], Command(["true"]))
    assert not fenced.unsure


def test_an_address_that_nobody_knows_is_named() -> None:
    endpoint = SshAccess().endpoint("c1")
    assert "c1 is not known" in ssh.explain(endpoint, socket.gaierror(-2, "Name or service not known"))


def test_an_identity_that_cannot_be_read_is_named(pooled: ssh.SshRunner, sshd: Sshd, make_remote: MakeRemote) -> None:
    text = why(make_remote("ssh", sshd.access(identity="/nonexistent/key")).run(["a"], Command(["true"]))["a"])
    assert "/nonexistent/key cannot be read" in text


# --- ends that are not clean ---


class Running:
    """A command that says its pid and sleeps, run by a thread; ``result`` once it has ended."""

    def __init__(self, runner: RemoteRunner, *, timeout: float = 60.0) -> None:
        self.cancel = CancelToken()
        self.fenced = runner.fenced("key", 1, self.cancel)
        self._said = threading.Event()
        self._results: list[CommandResult] = []
        self._thread = threading.Thread(target=self._run, args=(timeout,))
        self._thread.start()
        assert self._said.wait(20)

    def _run(self, timeout: float) -> None:
        def heard(chunk: bytes) -> None:
            self.pid, self.helper = map(int, chunk.split())
            self._said.set()

        command = ["sh", "-c", "echo $$ $PPID; exec sleep 60"]
        self._results.append(self.fenced.run(["a"], Command(command, timeout=timeout, on_output=heard))["a"])

    @property
    def result(self) -> CommandResult:
        self._thread.join(20)
        return self._results[0]


def test_a_command_whose_connection_ends_is_lost_and_ended_there(remote: RemoteRunner, sshd: Sshd, wait_until: Wait) -> None:
    running = Running(remote)
    sshd.signal_connections()
    assert isinstance(running.result.error, HostLost)
    assert f"the connection to {ADDRESS} port {sshd.port} ended" in str(running.result.error)
    assert running.fenced.unsure
    wait_until(lambda: not alive(running.pid))


def test_a_command_whose_local_ssh_is_killed_is_lost_and_ended_there(sshd: Sshd, make_remote: MakeRemote, wait_until: Wait) -> None:
    running = Running(make_remote("openssh", sshd.access()))
    (local,) = [pid for pid in below(os.getpid()) if name_of(pid) == "ssh"]
    os.kill(local, signal.SIGKILL)
    assert isinstance(running.result.error, HostLost)
    assert "the local ssh was killed by signal 9" in str(running.result.error)
    assert running.fenced.unsure
    wait_until(lambda: not alive(running.pid))


def test_a_helper_that_does_not_answer_in_time_is_lost(
    remote: RemoteRunner, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    monkeypatch.setattr(base, "GIVE_UP_SECONDS", 0.5)
    running = Running(remote, timeout=0.5)
    os.kill(running.helper, signal.SIGSTOP)
    assert isinstance(running.result.error, HostLost)
    assert "its helper did not answer within 1 s" in str(running.result.error)
    assert running.fenced.unsure
    os.kill(running.helper, signal.SIGCONT)
    wait_until(lambda: not alive(running.pid))


def test_cancelling_ends_the_command_there(remote: RemoteRunner, wait_until: Wait) -> None:
    running = Running(remote)
    running.cancel.cancel()
    assert isinstance(running.result.error, Cancelled)
    assert running.fenced.unsure
    wait_until(lambda: not alive(running.pid), 2.0)


def test_the_fence_ends_a_command_that_was_lost(remote: RemoteRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "GIVE_UP_SECONDS", 0.5)  # ssh waits as long as the command holds its streams
    running = Running(remote, timeout=1.0)
    os.kill(running.helper, signal.SIGKILL)
    assert isinstance(running.result.error, HostLost)
    assert alive(running.pid)
    assert remote.fence(["a"], "key", 2) == {"a": None}
    assert not alive(running.pid)


def test_fences_hold_for_another_daemon(remote: RemoteRunner, sshd: Sshd, make_remote: MakeRemote) -> None:
    assert remote.fence(["a"], "key", 3) == {"a": None}
    for kind in ("openssh", "ssh"):
        older = make_remote(kind, sshd.access()).fenced("key", 2, CancelToken())
        assert isinstance(older.run(["a"], Command(["true"]))["a"].error, Cancelled)


# --- what goes over the connection ---


def test_no_shell_sees_arguments_keys_or_folders(sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    hostile = ["$(touch /tmp/x)", "`id`", "a b", "'", '"', "\\", "!x", "-rf", "--", "new\nline", "*", "~", "#", "\udcff", ""]
    for kind in ("openssh", "ssh"):
        runner = make_remote(kind, sshd.access(), fence_dir=str(tmp_path / "a 'b' $(c)\n!d"))
        result = runner.fenced("$(id) '\n", 1, CancelToken()).run(["a"], Command(["printf", "%s\\0", *hostile]))["a"]
        assert result.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in hostile]


def test_the_command_line_there_is_the_same_for_every_call(remote: RemoteRunner) -> None:
    script = "tr '\\0' '\\n' < /proc/$PPID/cmdline"
    result = remote.fenced("secret-key", 7, CancelToken()).run(["a"], Command(["sh", "-c", script, "secret-argument"]))["a"]
    assert result.stdout.decode().splitlines() == [remote.python, "-I", "-S", "-c", BOOTSTRAP]


SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "csh", "tcsh", "ksh", "mksh", "fish", "busybox") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_login_shells_of_all_kinds_can_read_the_command_line(shell: str) -> None:
    words = [shell, "sh", "-c"] if shell == "busybox" else [shell, "-c"]
    text = payload("run", "--timeout", "9", "--", "echo", "hi")
    done = subprocess.run([*words, remote_command(sys.executable)], input=text, capture_output=True, check=True)
    assert done.stdout.startswith(b"dacc_ready\nhi\n")


def payload(*words: str) -> bytes:
    """What is sent for a call of the helper."""
    session = HelperSession("h1", base.HelperCall(words, "", 9.0), 9.0)
    session.receive(b"dacc_ready\n")
    assert session.stdin is not None
    return session.stdin


@pytest.mark.parametrize("missing", [1, 2, 30, 400, 5000, 10_000])
def test_a_call_that_does_not_come_whole_starts_nothing(tmp_path: Path, missing: int) -> None:
    text = payload("run", "--timeout", "9", "--", "sh", "-c", "touch " + str(tmp_path / "made"))
    done = subprocess.run(["sh", "-c", remote_command(sys.executable)], input=text[:-missing], capture_output=True, check=False)
    assert done.returncode == 125
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_has_nothing_that_a_shell_would_change() -> None:
    assert not set(BOOTSTRAP) & set("'\"\\!\n`$%^~")


def test_what_a_login_shell_says_is_not_the_commands(sshd: Sshd, make_remote: MakeRemote) -> None:
    for kind in ("openssh", "ssh"):
        result = make_remote(kind, sshd.access(identity=str(sshd.noisy))).run(["a"], Command(["sh", "-c", "echo out; echo err >&2"]))["a"]
        assert result.stdout == b"out\n"
        assert result.stderr.endswith(b"err\n")


def test_nothing_of_ours_is_needed_on_the_host(remote: RemoteRunner) -> None:
    """The helper runs from what was sent: its process has no file open but the interpreter's."""
    result = remote.run(["a"], Command(["sh", "-c", "ls -l /proc/$PPID/fd; cat /proc/$PPID/maps"]))["a"]
    assert b"dacc" not in result.stdout.replace(os.fsencode(sys.prefix), b"")
    assert b"dacc-fence" in helper_program()


def test_large_stdin_arrives_whole(remote: RemoteRunner) -> None:
    data = os.urandom(5_000_000)
    assert remote.run(["a"], Command(["sha256sum"], stdin=data))["a"].stdout.split()[0].decode() == sha256(data).hexdigest()


def test_64_hosts_at_once(remote: RemoteRunner) -> None:
    names = [f"h{number}" for number in range(64)]
    results = remote.run(names, Command(lambda host: ["echo", host]))
    assert {host: result.stdout for host, result in results.items()} == {name: f"{name}\n".encode() for name in names}


@pytest.mark.parametrize(
    ("pattern", "address"),
    [("%h", "c1"), ("%h-ib", "c1-ib"), ("10.0.0.1", "10.0.0.1"), ("fe80::1%%eth0", "fe80::1%eth0"), ("%%h.%h", "%h.c1")],
)
def test_an_address_is_made_from_the_hosts_name(pattern: str, address: str) -> None:
    assert SshAccess(addresses={"c1": pattern}).endpoint("c1").address == address


def test_a_host_without_an_address_is_reached_by_its_name() -> None:
    assert SshAccess(addresses={"c1": "x"}).endpoint("c2").address == "c2"


def test_the_end_of_a_stream_is_seen_in_pieces_and_holds_nothing_else_back() -> None:
    heard: list[bytes] = []
    session = HelperSession("h1", base.HelperCall(["run"], "", 9.0, on_output=heard.append), 9.0)
    session.receive(b"Welcome\ndacc_re")
    session.receive(b"ady\n")
    mark = ends_of(session)
    for byte in b"one\x1edacc-end no" + mark:
        session.receive(bytes([byte]))
    session.receive_error(b"err" + mark)
    assert not session.finished
    session.receive_error(b" 7\n")
    assert session.finished
    assert session.outcome().returncode == 7
    assert (b"".join(heard), session.stdout, session.stderr) == (b"one\x1edacc-end no", b"one\x1edacc-end no", b"err")


NO_STATUS = [b" nonsense\n", b" \n", b"\n", b" 1e9\n", b" 12345\n", b" 7", b" -1\n", b" 7 7\n", b"\xff" * 65, b"9" * 5_000_000]


@pytest.mark.parametrize("after", NO_STATUS, ids=lambda after: repr(after[:12]))
def test_a_host_that_ends_a_call_in_no_way_that_our_helper_does_is_lost(after: bytes) -> None:
    """Whoever has taken a node over answers what he likes; a fence that never came to an answer hung its session for ever."""
    session = HelperSession("h1", base.HelperCall(["fence"], "", 9.0), 9.0)
    session.receive(b"dacc_ready\n")
    mark = ends_of(session)
    session.receive(mark)
    session.receive_error(mark)
    for start in range(0, len(after), 65536):
        session.receive_error(after[start : start + 65536])
    with pytest.raises(HostLost, match="host h1 was lost"):
        session.outcome()
    assert session.finished == (b"\n" in after or len(after) > 64)


def ends_of(session: HelperSession) -> bytes:
    """The mark that the helper was told to end both streams with."""
    assert session.stdin is not None
    words = session.stdin.split(b"\0")
    return b"\x1edacc-end " + words[words.index(b"--attached") + 1]


# --- the program ssh ---


def options(words: list[str]) -> dict[str, str]:
    """The options of a command line of ssh, the first of each name."""
    found: dict[str, str] = {}
    for flag, word in pairwise(words):
        name, _, value = word.partition("=")
        if flag == "-o":
            found.setdefault(name, value)
    return found


def test_ssh_is_told_to_check_keys_and_to_forward_nothing(tmp_path: Path) -> None:
    runner = OpenSshRunner(SshAccess(known_hosts="/k", identity="/i"), fence_dir=tmp_path)
    words = runner._command(SshAccess().endpoint("c1"))
    wanted = {"BatchMode": "yes", "StrictHostKeyChecking": "yes", "HostKeyAlias": "c1", "ForwardAgent": "no", "ForwardX11": "no"}
    wanted |= {"RequestTTY": "no", "UserKnownHostsFile": '"/k"', "GlobalKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes"}
    assert wanted.items() <= options(words).items()
    assert words[-3:] == ["--", "c1", remote_command(runner.python)]


def test_a_configuration_file_of_ssh_cannot_loosen_what_is_checked(sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    file = tmp_path / "ssh_config"
    loose = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nRemoteCommand reboot\nRequestTTY force\nControlMaster auto\n"
    file.write_text(f"Host {ADDRESS}\n{loose}LocalForward 1 localhost:1\nControlPath {tmp_path}/control\n")
    known = tmp_path / "known"
    known.touch()
    strict = make_remote("openssh", sshd.access(known_hosts=str(known)), ssh_config=str(file))
    assert "no host key of a" in why(strict.run(["a"], Command(["true"]))["a"])
    assert make_remote("openssh", sshd.access(), ssh_config=str(file)).run(["a"], Command(["echo"]))["a"].stdout == b"\n"
    assert not (tmp_path / "control").exists()


def test_a_configuration_file_of_ssh_can_say_how_to_get_to_a_host(sshd: Sshd, make_remote: MakeRemote, tmp_path: Path) -> None:
    file = tmp_path / "ssh_config"
    file.write_text(f"Host a\n  HostName {ADDRESS}\n")
    assert make_remote("openssh", sshd.access(addresses={}), ssh_config=str(file)).run(["a"], Command(["true"]))["a"].ok


# --- connections that are kept ---


def test_a_connection_is_used_again(pooled: ssh.SshRunner) -> None:
    for _ in range(3):
        assert pooled.run(["a"], Command(["true"]))["a"].ok
    assert pooled.connections.opened == 1


def test_hosts_share_no_connection(pooled: ssh.SshRunner) -> None:
    pooled.run(["a", "b"], Command(["true"]))
    assert pooled.connections.opened == 2


def at_once(number: int, call: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_commands_on_one_host_share_few_connections(pooled: ssh.SshRunner) -> None:
    results: list[bool] = []
    at_once(20, lambda: results.append(pooled.run(["a"], Command(["sleep", "0.2"]))["a"].ok))
    assert results == [True] * 20
    assert pooled.connections.opened <= 20 // ssh.SESSIONS + 1


def test_a_connection_that_died_meanwhile_is_replaced(pooled: ssh.SshRunner, sshd: Sshd) -> None:
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    sshd.signal_connections()
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    assert pooled.connections.opened == 2


def test_a_connection_that_is_dead_and_looks_alive_is_replaced(
    pooled: ssh.SshRunner, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "REUSE_SECONDS", 0.5)
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    stopped = sshd.connections()
    sshd.signal_connections(signal.SIGSTOP)
    try:
        assert pooled.run(["a"], Command(["true"]))["a"].ok
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
    assert pooled.connections.opened == 2


def test_what_becomes_of_a_connection_that_was_given_up_is_not_logged(
    pooled: ssh.SshRunner, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ssh, "REUSE_SECONDS", 0.5)
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    stopped = sshd.connections()
    sshd.signal_connections(signal.SIGSTOP)
    try:
        assert pooled.run(["a"], Command(["true"]))["a"].ok
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not asyncio.all_tasks(ENGINE.loop))
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_a_host_that_went_away_is_tried_anew_once_and_reported(pooled: ssh.SshRunner, sshd: Sshd) -> None:
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    connections = sshd.connections()
    sshd.stop()
    try:
        for pid in connections:
            os.kill(pid, signal.SIGKILL)
        assert "nothing listens" in why(pooled.run(["a"], Command(["true"]))["a"])
    finally:
        sshd.start()
    assert pooled.run(["a"], Command(["true"]))["a"].ok


def test_an_idle_connection_is_closed(pooled: ssh.SshRunner, sshd: Sshd, wait_until: Wait) -> None:
    pooled.connections.idle_seconds = 0.1
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    wait_until(lambda: not sshd.connections())
    assert pooled.run(["a"], Command(["true"]))["a"].ok
    assert pooled.connections.opened == 2


def test_of_very_many_hosts_not_all_connections_are_kept(
    pooled: ssh.SshRunner, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    monkeypatch.setattr(ssh, "KEPT", 4)
    assert all(result.ok for result in pooled.run([f"h{number}" for number in range(12)], Command(["true"])).values())
    wait_until(lambda: len(pooled.connections.hosts) <= 4)


def test_a_host_that_allows_fewer_commands_on_a_connection_gets_more_connections(
    tmp_path: Path, sshd: Sshd, make_remote: MakeRemote
) -> None:
    (tmp_path / "strict").mkdir()
    strict = Sshd(tmp_path / "strict", sessions=1)
    try:
        runner = make_remote("ssh", strict.access())
        results: list[bool] = []
        at_once(5, lambda: results.append(runner.run(["a"], Command(["sleep", "0.2"]))["a"].ok))
    finally:
        strict.stop()
    assert results == [True] * 5


def test_runners_share_one_thread(sshd: Sshd, make_remote: MakeRemote) -> None:
    for kind in ("openssh", "ssh"):
        assert make_remote(kind, sshd.access()).run(["a"], Command(["true"]))["a"].ok
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith("dacc-") and "blocking" not in name] == ["dacc-hosts"]


def test_a_connection_that_needs_a_thread_and_gets_none_is_a_host_that_is_not_reached(
    pooled: ssh.SshRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> concurrent.futures.Future[Any]:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(base, "ENGINE", HostEngine())
    base.ENGINE.loop.set_default_executor(Full())
    fenced = pooled.fenced("key", 1, CancelToken())
    assert "can't start new thread" in why(fenced.run(["a"], Command(["true"]))["a"])
    assert not fenced.unsure


def test_a_closed_runner_leaves_no_connection(sshd: Sshd, wait_until: Wait, tmp_path: Path) -> None:
    runner = ssh.SshRunner(sshd.access(), fence_dir=tmp_path)
    assert runner.run(["a"], Command(["true"]))["a"].returncode == 0
    runner.close()
    runner.close()
    wait_until(lambda: not sshd.connections())
