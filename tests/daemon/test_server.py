"""The daemon's socket: what clients may send, how long they may take, and what they find when the daemon goes."""

from __future__ import annotations

import errno
import json
import os
import queue
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dacc_core.daemon import protocol, server
from dacc_core.daemon.listener import SocketListener
from dacc_core.daemon.server import Handler, Reply, Server, SocketRequest
from dacc_core.errors import BadConfig, Busy, NoSuchPool
from dacc_core.verbs.frontend import Answer, Call, PeerCredentials, SessionNotice
from fakewarp import thin
from tests.support.requirements import require_root

GOOD = b'{"v":1,"program":"fakewarp","args":["--function","pools"],"files":{}}\n'
WAITING = b'{"v":1,"program":"fakewarp","args":["wait"],"files":{}}\n'

Serve = Callable[..., Server]
Line = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/dacd.sock"


@pytest.fixture
def serve(path: str) -> Iterator[Serve]:
    """Start a server whose calls are answered by a function."""
    servers: list[Server] = []

    def start(handle: Handler, **options: Any) -> Server:
        servers.append(Server(path, handle, **{"trusted": lambda uid: uid == os.geteuid(), **options}))
        servers[-1].start()
        return servers[-1]

    yield start
    for each in servers:
        each.close(drain=True)


class Waiting:
    """Answers at once, except those who ask to wait: their requests and replies are kept."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[tuple[SocketRequest, Reply]] = queue.SimpleQueue()

    def __call__(self, request: SocketRequest, reply: Reply) -> None:
        if request.call.args == ("wait",):
            self.calls.put((request, reply))
        else:
            reply(Answer(stdout="now"))

    def next(self) -> Reply:
        """The next waiting call, when it has come."""
        return self.calls.get(timeout=10)[1]


def at_once(_: SocketRequest, reply: Reply) -> None:
    reply(Answer(stdout="now"))


def connect(path: str, data: bytes = b"") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(path)
    with suppress(BrokenPipeError):  # it may refuse us without reading
        client.sendall(data)
    return client


def lines(client: socket.socket) -> list[Line]:
    """Everything that comes until the server closes; being cut off is a close."""
    data = b""
    with client, suppress(ConnectionResetError):
        while chunk := client.recv(1 << 16):
            data += chunk
    return [json.loads(line) for line in data.splitlines()]


def talk(path: str, data: bytes = GOOD) -> Line:
    *alive, final = lines(connect(path, data))
    assert alive == [{"alive": True}] * len(alive)
    return final


def until_not_busy(path: str) -> Line:
    """Ask until there is room; the time in which there must be is bounded generously."""
    end = time.monotonic() + 10
    while (final := talk(path))["rc"] == 75:
        assert time.monotonic() < end, "it stays busy"
    return final


# -- calls and answers


def test_a_call_reaches_the_handler_with_its_arguments_files_and_caller(serve: Serve, path: str) -> None:
    seen: list[SocketRequest] = []

    def handle(request: SocketRequest, reply: Reply) -> None:
        seen.append(request)
        reply(Answer())

    serve(handle)
    talk(path, b'{"v":1,"program":"dwstat","args":["a","\\udcff"],"files":{"job":"#!/bin/sh\\n"},"later":0}\n')
    caller = PeerCredentials(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid(), trusted=True)
    assert seen == [SocketRequest("dwstat", Call(("a", "\udcff"), {"job": "#!/bin/sh\n"}, caller))]


def test_a_repeated_call_reaches_the_handler_with_its_session_and_its_age(serve: Serve, path: str) -> None:
    seen: list[SocketRequest] = []

    def handle(request: SocketRequest, reply: Reply) -> None:
        seen.append(request)
        reply(Answer())

    serve(handle)
    talk(path, b'{"v":1,"program":"fakewarp","args":[],"session":"a0010000","waited":7000.5}\n')
    assert seen[0].call.session == "a0010000"
    assert 7000.5 <= seen[0].call.age() < 8000


def test_what_a_call_is_about_is_told_before_its_answer(serve: Serve, path: str) -> None:
    def handle(_: SocketRequest, reply: Reply) -> None:
        reply(SessionNotice("7@1.0 ä\udcff"))
        reply(Answer(stdout="done"))

    serve(handle)
    assert lines(connect(path, GOOD)) == [{"session": "7@1.0 ä\udcff"}, {"rc": 0, "stdout": "done", "pathfile": None}]


def test_what_a_call_is_about_is_told_while_the_answer_is_not_there_yet(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting)
    client = connect(path, WAITING)
    reply = waiting.next()
    reply(SessionNotice("a0010000"))
    told = json.loads(client.makefile("rb").readline())
    reply(Answer(stdout="done"))
    assert (told, lines(client)[-1]["stdout"]) == ({"session": "a0010000"}, "done")


def test_the_thin_client_repeats_a_call_with_what_it_was_told(serve: Serve, path: str) -> None:
    waiting = Waiting()
    server = serve(waiting)
    answers: list[dict[str, Any] | None] = []
    client = threading.Thread(target=lambda: answers.append(thin.ask(path.encode(), WAITING, time.monotonic() + 60, 1.0)))
    client.start()
    waiting.next()(SessionNotice("a0010000"))
    server.close(drain=True)  # the next daemon takes over
    serve(waiting)
    request, reply = waiting.calls.get(timeout=30)
    reply(Answer(stdout="done"))
    client.join(30)
    assert request.call.session == "a0010000"
    assert answers == [{"rc": 0, "stdout": "done", "pathfile": None}]


@pytest.mark.parametrize(
    "more", ['"session":7', '"session":null', '"waited":-1', '"waited":true', '"waited":"1"', '"waited":NaN', '"waited":1e999']
)
def test_a_session_that_is_no_name_and_a_time_that_is_none_are_refused(serve: Serve, path: str, more: str) -> None:
    serve(at_once)
    assert talk(path, f'{{"v":1,"program":"fakewarp","args":[],{more}}}\n'.encode())["rc"] != 0


def test_a_time_of_very_many_digits_is_refused(serve: Serve, path: str) -> None:
    serve(at_once)
    assert "no number of seconds" in talk(path, b'{"v":1,"program":"fakewarp","args":[],"waited":' + b"9" * 400 + b"}\n")["stdout"]


def test_the_thin_client_and_the_server_understand_each_other(serve: Serve, path: str) -> None:
    def echo(request: SocketRequest, reply: Reply) -> None:
        reply(Answer(rc=9, stdout=f"{request.program} {request.call.args[0]} {request.call.files['job']}", pathfile="A=ä\n"))

    serve(echo)
    script = Path(path).with_name("script")
    script.write_bytes(b"\xff\n")
    line = thin.request("dwstat", ["--job", f"{script}"])
    assert thin.ask(os.fsencode(path), line, time.monotonic() + 10, 1) == {"rc": 9, "stdout": "dwstat --job \udcff\n", "pathfile": "A=ä\n"}


def test_an_answer_may_come_later_and_from_another_thread(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting)
    client = connect(path, WAITING)
    waiting.next()(Answer(rc=1, stdout="later"))
    assert lines(client) == [{"rc": 1, "stdout": "later", "pathfile": None}]


def test_only_the_first_answer_counts(serve: Serve, path: str) -> None:
    def twice(_: SocketRequest, reply: Reply) -> None:
        reply(Answer(stdout="first"))
        reply(Answer(stdout="second"))

    serve(twice)
    assert [line["stdout"] for line in lines(connect(path, GOOD))] == ["first"]


def test_a_waiting_client_is_kept_alive(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting, keepalive=0.01)
    client = connect(path, WAITING)
    with client.makefile("rb") as stream:
        assert [json.loads(stream.readline()) for _ in range(3)] == [{"alive": True}] * 3
    waiting.next()(Answer(stdout="done"))
    assert lines(client)[-1]["stdout"] == "done"


def test_a_read_does_not_stand_behind_three_hundred_waiting_calls(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting)
    clients = [connect(path, WAITING) for _ in range(300)]
    replies = [waiting.next() for _ in clients]
    assert talk(path)["stdout"] == "now"  # while every one of them still waits
    for number, reply in enumerate(replies):
        reply(Answer(stdout=str(number)))
    assert {lines(client)[-1]["stdout"] for client in clients} == {str(number) for number in range(300)}


def test_a_request_may_come_in_pieces(serve: Serve, path: str) -> None:
    serve(at_once)
    client = connect(path)
    for start in range(0, len(GOOD), 7):
        client.sendall(GOOD[start : start + 7])
    assert lines(client)[-1]["stdout"] == "now"


def test_a_large_request_and_a_large_answer_arrive_whole(serve: Serve, path: str) -> None:
    serve(lambda request, reply: reply(Answer(stdout=request.call.files["job"])))
    text = "ä" * 2_000_000
    line = json.dumps({"v": 1, "program": "fakewarp", "args": [], "files": {"job": text}}).encode() + b"\n"
    assert talk(path, line)["stdout"] == text


# -- who calls


@pytest.fixture
def public_path() -> Iterator[str]:
    """A place for a socket that another user can reach; pytest's own directories are closed to others."""
    require_root("becoming another user")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield f"{directory}/s"


@pytest.mark.root
def test_the_kernel_says_who_calls(public_path: str) -> None:
    seen: list[PeerCredentials] = []

    def handle(request: SocketRequest, reply: Reply) -> None:
        seen.append(request.call.caller)
        reply(Answer())

    public = Server(public_path, handle, trusted=lambda uid: uid == 0)
    public.start()
    code = f"import _socket, posix; posix.setgid(54321); posix.setuid(12345); s = _socket.socket(1, 1); s.connect({public_path!r})"
    code += f"; s.sendall({GOOD!r}); s.recv(99); print(posix.getpid())"
    child = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    public.close(drain=True)
    assert seen == [PeerCredentials(uid=12345, gid=54321, pid=int(child.stdout), trusted=False)]


def test_strangers_get_a_part_of_the_connections_only(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting, trusted=lambda _: False, max_connections=8)
    clients = [connect(path, WAITING) for _ in range(2)]
    replies = [waiting.next() for _ in clients]
    assert talk(path)["rc"] == 75
    for reply in replies:
        reply(Answer())
    assert [lines(client)[-1]["rc"] for client in clients] == [0, 0]
    assert talk(path)["stdout"] == "now"


def test_strangers_requests_are_short(serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STRANGER_LINE", 200)
    serve(at_once, trusted=lambda _: False)
    assert talk(path)["stdout"] == "now"
    assert "larger than 200 bytes" in talk(path, b" " * 200 + GOOD)["stdout"]


# -- what goes wrong


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"pools\n",
        b"\xff\xfe\n",
        b'{"v":1\n',
        b"[1]\n",
        b"null\n",
        b"[" * 200_000 + b"\n",
        b'{"a":' * 200_000 + b"\n",
        b'{"v":' + b"9" * 10_000 + b"}\n",
        b'{"program":"fakewarp","args":[]}\n',
        b'{"v":2,"program":"fakewarp","args":[]}\n',
        b'{"v":true,"program":"fakewarp","args":[]}\n',
        b'{"v":1.0,"program":"fakewarp","args":[]}\n',
        b'{"v":1,"args":[]}\n',
        b'{"v":1,"program":"fake\\nwarp","args":[]}\n',
        b'{"v":1,"program":7,"args":[]}\n',
        b'{"v":1,"program":"fakewarp"}\n',
        b'{"v":1,"program":"fakewarp","args":"pools"}\n',
        b'{"v":1,"program":"fakewarp","args":[1]}\n',
        b'{"v":1,"program":"fakewarp","args":[],"files":[]}\n',
        b'{"v":1,"program":"fakewarp","args":[],"missing":"job"}\n',
        b'{"v":1,"program":"fakewarp","args":[],"missing":[1]}\n',
        b'{"v":1,"program":"fakewarp","args":[],"waited":"1"}\n',
        b'{"v":1,"program":"fakewarp","args":[],"waited":NaN}\n',
        b'{"v":1,"program":"fakewarp","args":[],"files":{"job":null}}\n',
    ],
    ids=lambda line: line[:40].decode("ascii", "replace"),
)
def test_a_request_that_is_none_is_refused_in_one_line(serve: Serve, path: str, line: bytes) -> None:
    serve(at_once)
    final = talk(path, line)
    assert (final["rc"], final["stdout"].count("\n"), "'" in final["stdout"]) == (15, 1, False)
    assert final["stdout"].startswith("dacd: ")
    assert talk(path)["stdout"] == "now"


def test_bytes_of_any_kind_never_stop_the_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = f"{tmp_path_factory.mktemp('fuzz')}/s"
    fuzzed = Server(path, at_once, trusted=lambda _: True, request_seconds=0.05)
    fuzzed.start()
    pieces = st.sampled_from([GOOD, b'{"v":1', b',"args":[', b'"\\udcff"', b"]}", b"\n", b"\0", b'"program":"fakewarp"'])

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @example(b"", True)
    @given(st.binary(max_size=300) | st.lists(pieces | st.binary(max_size=9), max_size=9).map(b"".join), st.booleans())
    def any_bytes(data: bytes, ends: bool) -> None:
        client = connect(path, data)
        if ends:
            client.shutdown(socket.SHUT_WR)
        assert [line["rc"] for line in lines(client)] in ([], [0], [15])
        assert talk(path)["stdout"] == "now"

    try:
        any_bytes()
    finally:
        fuzzed.close(drain=True)


def test_a_request_that_is_too_long_is_refused_before_it_has_ended(serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_LINE", 1000)
    serve(at_once)
    assert talk(path, b"x" * 4_000_000) == {"rc": 15, "stdout": "dacd: the request is larger than 1000 bytes\n", "pathfile": None}


def test_a_client_that_takes_too_long_to_ask_is_refused(serve: Serve, path: str) -> None:
    serve(at_once, request_seconds=0.05)
    assert talk(path, GOOD[:-5]) == {"rc": 15, "stdout": "dacd: no whole request came within 0.05 s\n", "pathfile": None}


def test_a_request_that_is_cut_off_is_refused(serve: Serve, path: str) -> None:
    serve(at_once)
    client = connect(path, GOOD[:-1])
    client.shutdown(socket.SHUT_WR)
    assert [line["stdout"] for line in lines(client)] == ["dacd: the request has no end\n"]


def test_a_client_that_asks_nothing_gets_nothing(serve: Serve, path: str) -> None:
    serve(at_once)
    client = connect(path)
    client.shutdown(socket.SHUT_WR)
    assert lines(client) == []


def test_an_error_of_the_handler_is_the_answer(serve: Serve, path: str) -> None:
    def fails(_: SocketRequest, __: Reply) -> None:
        raise NoSuchPool(pool="p", hint="none is configured")

    serve(fails)
    final = talk(path)
    assert (final["rc"], final["stdout"]) == (22, "dacd: pool 'p' does not exist: none is configured\n")


@pytest.mark.parametrize("error", [RuntimeError("secret"), OSError("secret"), KeyError("secret")])
def test_a_fault_of_the_handler_is_logged_and_not_told(
    serve: Serve, path: str, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fails(_: SocketRequest, __: Reply) -> None:
        raise error

    serve(fails)
    assert talk(path) == {"rc": 1, "stdout": "dacd: internal error: see the log of dacd\n", "pathfile": None}
    assert "secret" in caplog.text


def test_an_answer_that_cannot_be_sent_is_a_fault(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    serve(lambda _, reply: reply(Answer(stdout=b"bytes")))  # type: ignore[arg-type]
    assert talk(path)["rc"] == 1
    assert "an answer cannot be sent" in caplog.text


def test_too_many_calls_are_told_to_call_again(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting, max_connections=2)
    clients = [connect(path, WAITING) for _ in range(2)]
    replies = [waiting.next() for _ in clients]
    assert talk(path) == {"rc": 75, "stdout": "dacd: busy: too many calls at once: call again\n", "pathfile": None}
    for reply in replies:
        reply(Answer())
    assert [lines(client)[-1]["rc"] for client in clients] == [0, 0]
    assert talk(path)["stdout"] == "now"


def test_a_client_that_goes_away_frees_its_place_and_its_answer_is_dropped(serve: Serve, path: str) -> None:
    waiting = Waiting()
    serve(waiting, max_connections=1, keepalive=0.01)
    connect(path, WAITING).close()
    reply = waiting.next()
    assert until_not_busy(path)["stdout"] == "now"
    reply(Answer(stdout="nobody reads this"))
    assert talk(path)["stdout"] == "now"


def test_a_client_that_does_not_read_frees_its_place(serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 0.05)
    waiting = Waiting()
    serve(waiting, max_connections=1)
    with connect(path, WAITING):
        waiting.next()(Answer(stdout="x" * 10_000_000))
        assert until_not_busy(path)["stdout"] == "now"


def test_a_lack_of_descriptors_loses_nobody(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    class Poor(SocketListener):
        """Its socket has no descriptor for the first two callers."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.real, self.socket = self.socket, self  # type: ignore[assignment]
            self.failures = 2

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self.real.accept()

        def close(self) -> None:
            self.socket = self.real
            super().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "SocketListener", Poor)
        serve(at_once)
    assert talk(path)["stdout"] == "now"
    assert [record.getMessage() for record in caplog.records] == ["calls cannot be accepted"]


def test_a_lack_of_threads_is_said(serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = server._start
    monkeypatch.setattr(server, "_start", lambda _: False)
    serve(at_once)
    assert talk(path)["rc"] == 75
    monkeypatch.setattr(server, "_start", started)
    assert talk(path)["rc"] == 0


# -- the end


def test_a_drained_client_loses_its_connection_and_asks_the_next_daemon(serve: Serve, path: str) -> None:
    waiting = Waiting()
    first = serve(waiting)
    found: list[Any] = []
    client = threading.Thread(target=lambda: found.append(thin.ask(os.fsencode(path), WAITING, time.monotonic() + 10, 1)))
    client.start()
    late = waiting.next()
    first.close(drain=True)
    late(Answer(stdout="from the dead"))
    serve(lambda _, reply: reply(Answer(stdout="from the next")))
    client.join()
    assert [answer["stdout"] for answer in found] == ["from the next"]


def test_a_client_that_still_asks_gets_no_error_when_it_is_drained(serve: Serve, path: str) -> None:
    waiting = Waiting()
    only = serve(waiting)
    slow, asked = connect(path, WAITING[:10]), connect(path, WAITING)
    waiting.next()  # so both were accepted
    only.close(drain=True)
    assert (lines(slow), lines(asked), waiting.calls.empty()) == ([], [], True)


def test_without_a_successor_waiting_clients_are_told(serve: Serve, path: str) -> None:
    waiting = Waiting()
    only = serve(waiting)
    client = connect(path, WAITING)
    waiting.next()
    only.close(drain=False)
    (final,) = lines(client)
    assert (final["rc"], final["stdout"].startswith("dacd: the daemon stops")) == (60, True)


def test_an_answer_that_was_given_is_delivered_before_the_end(serve: Serve, path: str) -> None:
    waiting = Waiting()
    only = serve(waiting)
    client = connect(path, WAITING)
    waiting.next()(Answer(stdout="just in time"))
    only.close(drain=True)
    assert lines(client)[-1]["stdout"] == "just in time"


def test_closing_takes_the_socket_away_and_can_be_repeated(serve: Serve, path: str) -> None:
    only = serve(at_once)
    only.close(drain=True)
    only.close(drain=False)
    assert not Path(path).exists()


def test_a_server_that_never_started_can_be_closed(path: str) -> None:
    Server(path, at_once, trusted=lambda _: True).close(drain=True)


# -- the socket file


def test_everybody_may_connect_whatever_the_umask(serve: Serve, path: str) -> None:
    before = os.umask(0o077)
    try:
        serve(at_once)
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o666


def test_the_sockets_group_and_mode_can_be_chosen(path: str) -> None:
    group = os.getegid() if os.geteuid() else 54321
    listener = SocketListener(path, group=group, mode=0o660)
    found = Path(path).stat()
    listener.close()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o660)


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    directory = tmp_path / "run/dacc"
    SocketListener(f"{directory}/dacd.sock").close()
    assert stat.S_IMODE(directory.stat().st_mode) == (0o755 if os.geteuid() == 0 else 0o700)


def test_what_a_killed_daemon_left_is_replaced(path: str, serve: Serve) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    Path(f"{path}~").touch()
    serve(at_once)
    assert talk(path)["stdout"] == "now"
    assert sorted(each.name for each in Path(path).parent.iterdir()) == ["dacd.sock", "dacd.sock.lock"]


def test_a_daemon_that_lives_is_not_replaced(path: str, serve: Serve) -> None:
    serve(at_once)
    with pytest.raises(Busy, match="another daemon listens on "):
        SocketListener(path)
    assert talk(path)["stdout"] == "now"


def test_a_listener_of_another_kind_is_not_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(Busy):
            SocketListener(path)


def test_of_many_daemons_that_start_together_one_listens(path: str) -> None:
    barrier = threading.Barrier(8)
    outcomes: queue.SimpleQueue[SocketListener | None] = queue.SimpleQueue()

    def start() -> None:
        barrier.wait()
        try:
            outcomes.put(SocketListener(path))
        except Busy:
            outcomes.put(None)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [each for each in (outcomes.get() for _ in threads) if each]
    winner.close()


def test_after_a_refusal_the_place_can_still_be_had(path: str) -> None:
    Path(path).mkdir()
    with pytest.raises(BadConfig, match="something else has that name"):
        SocketListener(path)
    Path(path).rmdir()
    with pytest.raises(BadConfig, match="there is no group nosuchgroup"):
        SocketListener(path, group="nosuchgroup")
    SocketListener(path).close()


def test_a_socket_that_another_daemon_put_there_is_left_alone(path: str) -> None:
    listener = SocketListener(path)
    Path(path).unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        listener.close()
        assert Path(path).exists()


@pytest.mark.parametrize("bad", ["/dev/null/x/dacd.sock", "/proc/dacd.sock", f"/tmp/{'x' * 110}"])
def test_an_impossible_place_is_said(bad: str) -> None:
    with pytest.raises(BadConfig, match=f"^socket {bad}: "):
        SocketListener(bad)


def test_the_bounds_leave_room_for_a_job_of_thirty_thousand_nodes() -> None:
    assert protocol.MAX_LINE > 30_000 * 64 + (4 << 20)
