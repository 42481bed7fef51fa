"""The command that Slurm runs, against a daemon that does as it is told."""

from __future__ import annotations

import json
import os
import posix
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from fakewarp import thin

PACKAGE = Path(thin.__file__).parent
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
STUB = "import json, sys\nprint(json.dumps([{name!r}, *sys.argv[1:]]), flush=True)\nsys.exit(7)\n"

Turn = Callable[[socket.socket, dict[str, Any]], None]
Run = subprocess.CompletedProcess[bytes]


class FakeDacd:
    """Treats its connections one after the other as the turns say, and keeps the requests. The last turn is repeated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self._turns: list[Turn] = []
        self._open: list[socket.socket] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))

    def does(self, *turns: Turn) -> FakeDacd:
        self._turns = list(turns)
        self.socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def close(self) -> None:
        for each in (self.socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
                self._open.append(peer)
                with peer.makefile("rb") as lines:
                    self.requests.append(json.loads(lines.readline()))
                turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
                turn(peer, self.requests[-1])
            except OSError:
                return


def answers(**fields: Any) -> Turn:
    line = json.dumps({"rc": 0, "stdout": "", "pathfile": None, **fields}).encode() + b"\n"

    def turn(peer: socket.socket, _: dict[str, Any]) -> None:
        peer.sendall(line)
        peer.close()

    return turn


def sends(data: bytes) -> Turn:
    def turn(peer: socket.socket, _: dict[str, Any]) -> None:
        peer.sendall(data)
        peer.close()

    return turn


def hangs_up(peer: socket.socket, _: dict[str, Any]) -> None:
    peer.close()


def says_nothing(_: socket.socket, __: dict[str, Any]) -> None:
    """The connection stays open."""


@pytest.fixture
def dacd(tmp_path: Path) -> Iterator[FakeDacd]:
    fake = FakeDacd(tmp_path / "dacd.sock")
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as pip makes it, in which the programs of the fallback only tell how they were called."""
    root = tmp_path_factory.mktemp("env")
    package = root / "lib" / VERSION / "site-packages" / "fakewarp"
    package.mkdir(parents=True)
    for name in ("__init__.py", "thin.py"):
        shutil.copy(PACKAGE / name, package)
    (package / "__main__.py").write_text(STUB.format(name="fakewarp"))
    (package / "dwstat").mkdir()
    (package / "dwstat/__main__.py").write_text(STUB.format(name="dwstat"))
    make_programs(root)
    return root


def make_programs(root: Path) -> None:
    python = Path(sys.executable).resolve()
    (root / "bin").mkdir()
    (root / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    (root / "bin/python3").symlink_to(python)
    for name in ("fakewarp", "dwstat"):
        shutil.copy(PACKAGE / "scripts" / name, root / "bin")


@pytest.mark.parametrize("module", ["fakewarp", "fakewarp.dwstat", "fakewarp.slurm"])
def test_what_the_thin_client_becomes_can_be_run(module: str) -> None:
    assert find_spec(f"{module}.__main__")


@pytest.fixture
def call(prefix: Path, tmp_path: Path) -> Callable[..., Run]:
    """Run an installed program as Slurm does: any name as its first argument, nothing on stdin."""

    def run(*args: str | bytes, program: str = "fakewarp", env: dict[str, str] | None = None, **options: Any) -> Run:
        environ = {"PATH": "/usr/bin:/bin", "DACC_SOCKET": str(tmp_path / "dacd.sock"), **(env or {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, **options}
        executable = prefix / "bin" / program
        return subprocess.run(["dw_wlm_cli", *args], executable=executable, env=environ, stdin=subprocess.DEVNULL, timeout=30, **options)

    return run


class Clock:
    """Time that passes only in sleeps, where it also lets something happen."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        self.now, self._happens = 1000.0, happens

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._happens()


def ask(path: Path, line: bytes = b'{"v":1}\n', seconds: float = 20, patience: float = 1) -> dict[str, Any] | None:
    clock = vars(thin)["time"]  # a test may have replaced it
    return thin.ask(os.fsencode(path), line, clock.monotonic() + seconds, patience)


# -- what goes to dacd and what comes of its answer


def test_the_answer_is_printed_and_its_code_is_the_exit_code(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(answers(rc=3, stdout='{"pools": []}\n'))
    run = call("--function", "pools")
    assert (run.returncode, run.stdout, run.stderr) == (3, b'{"pools": []}\n', b"")


@pytest.mark.parametrize("program", ["fakewarp", "dwstat"])
def test_dacd_learns_which_program_was_called_whatever_it_was_called_as(dacd: FakeDacd, call: Callable[..., Run], program: str) -> None:
    dacd.does(answers())
    assert call("sessions", program=program).returncode == 0
    (request,) = dacd.requests
    assert request == {"v": 1, "program": program, "args": ["sessions"], "files": {}}


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--job", "job"),
        ("-j", "job"),
        ("--nodehostnamefile", "nodehostnamefile"),
        ("--nidlistfile", "nidlistfile"),
        ("--jobexecutionnodefile", "jobexecutionnodefile"),
    ],
)
def test_a_file_that_an_option_names_is_sent(tmp_path: Path, option: str, key: str) -> None:
    (tmp_path / "f").write_text("some\ntext")
    for words in ([option, f"{tmp_path}/f"], [f"{option}={tmp_path}/f"]):
        assert json.loads(thin.request("fakewarp", words)) == {
            "v": 1,
            "program": "fakewarp",
            "args": words,
            "files": {key: "some\ntext"},
        }


@pytest.mark.parametrize("path", ["missing", ".", "", "nul\0"])
def test_a_file_that_cannot_be_read_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(thin.request("fakewarp", ["--job", path]))["files"] == {}


@pytest.mark.parametrize("path", ["missing", "file/below", "dangling"])
def test_a_file_that_does_not_exist_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert json.loads(thin.request("fakewarp", ["--job", path]))["missing"] == ["job"]


@pytest.mark.parametrize("path", [".", "nul\0", "n" * 300, "loop"])
def test_what_is_there_and_cannot_be_read_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert "missing" not in json.loads(thin.request("fakewarp", ["--job", path]))


def test_a_file_that_the_caller_may_not_see_is_not_missing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    reads = "import json; from fakewarp import thin; print(json.loads(thin.request('fakewarp', ['--job', %r])).get('missing'))"
    words = [sys.executable, "-c", reads % f"{closed}/script"]
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    closed.chmod(0o700 if drop else 0)
    done = subprocess.run([*drop, *words], capture_output=True, text=True)
    closed.chmod(0o700)
    assert done.stdout == "None\n", done.stderr


def test_an_option_without_its_value_names_no_file() -> None:
    assert json.loads(thin.request("fakewarp", ["--job"]))["files"] == {}


def test_a_file_that_is_too_large_is_refused_rather_than_cut(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(thin.MAX_FILE + 1)
    dacd.does(answers())
    run = call("--function", "setup", "--job", "big")
    assert (run.returncode, run.stdout) == (1, b"fakewarp: big is larger than 16777216 bytes\n")


def test_bytes_that_are_not_utf8_arrive_and_return_unchanged(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path) -> None:
    script = bytes(range(256)) + "ä€😀".encode()
    (tmp_path / "script").write_bytes(script)
    dacd.does(answers(stdout="\udcff\udcfe€\n"))
    run = call("--job", "script", "--token", b"\xffx\xe2\x82\xac")
    (request,) = dacd.requests
    assert request["files"]["job"].encode("utf-8", "surrogateescape") == script
    assert request["args"][3].encode("utf-8", "surrogateescape") == b"\xffx\xe2\x82\xac"
    assert run.stdout == b"\xff\xfe\xe2\x82\xac\n"


def test_arguments_are_utf8_in_a_locale_that_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin, "sys", SimpleNamespace(getfilesystemencoding=lambda: "latin-1"))
    assert thin.as_utf8("ä€".encode().decode("latin-1")) == "ä€"


def test_the_output_is_one_write(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(answers(stdout="x" * 100_000))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # a datagram is what one write wrote
    with ours, theirs:
        ours.setblocking(False)
        assert call("pools", stdout=theirs).returncode == 0
        assert ours.recv(1 << 20) == b"x" * 100_000
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_an_answer_of_ten_megabytes_arrives_whole(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    text = "0123456789abcdé\n" * 640_000
    dacd.does(answers(stdout=text))
    assert call("show_sessions").stdout == text.encode()


def test_output_that_nobody_reads_is_a_silent_failure(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    dacd.does(answers(stdout="x"))
    run = call("pools", stdout=writing)
    os.close(writing)
    assert (run.returncode, run.stderr) == (1, b"")


@pytest.mark.parametrize(("code", "status"), [(255, 255), (256, 1), (-1, 1)])
def test_a_code_that_no_process_can_exit_with_is_a_failure(code: int, status: int) -> None:
    assert thin.deliver({"rc": code}, None) == status


# -- --pathfile


def test_the_pathfile_replaces_what_a_requeued_job_left(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "path").write_text("OLD=" + "x" * 1000)
    dacd.does(answers(pathfile="DW_JOB_STRIPED=/mnt\n", stdout="done\n"))
    run = call("--function", "paths", "--pathfile", "path")
    assert (run.returncode, run.stdout, (tmp_path / "path").read_text()) == (0, b"done\n", "DW_JOB_STRIPED=/mnt\n")


def test_a_new_pathfile_is_the_callers_alone(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path) -> None:
    dacd.does(answers(pathfile=""))
    assert call("--function", "paths", "--pathfile=path").returncode == 0
    assert (tmp_path / "path").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["missing/path", ".", "link", "/dev/full"])
def test_a_pathfile_that_cannot_be_written_is_a_failure(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    dacd.does(answers(pathfile="A=1\n", stdout="done\n"))
    run = call("--function", "paths", "--pathfile", name)
    assert (run.returncode, run.stderr) == (1, b"")
    assert re.fullmatch(rf"fakewarp: cannot write {name}: [A-Z][\w ]+\n", run.stdout.decode())
    assert not (tmp_path / "elsewhere").exists()


def test_an_answer_for_a_file_that_was_not_named_is_a_failure(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(answers(pathfile="A=1\n"))
    run = call("--function", "paths")
    assert (run.returncode, run.stdout) == (1, b"fakewarp: the answer is for a file, and --pathfile names none\n")


# -- waiting, and a dacd that goes away


def test_keep_alive_lines_are_not_the_answer(dacd: FakeDacd) -> None:
    dacd.does(sends(b'{"alive":true}\n{"new":1}\n{"alive":true}\n{"rc":0,"stdout":"x"}\n'))
    assert ask(dacd.path) == {"rc": 0, "stdout": "x"}


def test_an_answer_in_many_pieces_is_one(dacd: FakeDacd) -> None:
    def dribbles(peer: socket.socket, _: dict[str, Any]) -> None:
        for byte in b'{"alive":true}\n{"rc":0,"stdout":"\xc3\xa4"}\n':
            peer.sendall(bytes([byte]))

    dacd.does(dribbles)
    assert ask(dacd.path) == {"rc": 0, "stdout": "ä"}


def test_a_lost_call_is_repeated(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(hangs_up, sends(b'{"alive":true}\n{"rc":0,'), answers(stdout="now\n"))
    assert call("--function", "setup", "--token", "5").stdout == b"now\n"
    assert len(dacd.requests) == 3
    first, *others = dacd.requests
    assert [{key: value for key, value in each.items() if key != "waited"} for each in others] == [first] * 2


def test_a_repeated_call_names_the_session_that_dacd_said_it_is_about(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(
        hangs_up,
        sends(b'{"alive":true}\n{"session":"7@1.0 \\u00e4\\"\\udcff"}\n'),
        sends(b'{"alive":true}\n'),
        sends(b'{"session":"another"}\n'),
        answers(stdout="now\n"),
    )
    assert call("--function", "post_run", "--token", "7").stdout == b"now\n"
    assert [request.get("session") for request in dacd.requests] == [None, None, *['7@1.0 ä"\udcff'] * 3]


@pytest.mark.parametrize("line", [b'{"session":null}', b'{"session":7}', b'{"session":""}', b'{"session":["7"]}'])
def test_a_session_that_is_no_name_is_not_named(dacd: FakeDacd, call: Callable[..., Run], line: bytes) -> None:
    dacd.does(sends(line + b"\n"), answers(stdout="now\n"))
    assert call("--function", "post_run", "--token", "7").stdout == b"now\n"
    assert "session" not in dacd.requests[1]


def test_a_repeated_call_says_how_long_it_has_been_asked(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(thin, "time", clock)
    dacd.does(hangs_up, hangs_up, answers())
    ask(dacd.path)
    first, second, third = (request.get("waited") for request in dacd.requests)
    assert (first, second, third) == (None, pytest.approx(0.05), pytest.approx(0.1))


def test_a_call_does_not_tell_the_time_of_day(dacd: FakeDacd, call: Callable[..., Run]) -> None:
    dacd.does(hangs_up, answers())
    call("--function", "post_run", "--token", "7")
    times = [value for request in dacd.requests for value in request.values() if isinstance(value, float)]
    assert [value for value in times if value > 1_000_000] == []


def test_a_silent_dacd_is_asked_again(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin, "SILENCE", 0.05)
    dacd.does(says_nothing, answers(stdout="now"))
    answer = ask(dacd.path)
    assert answer is not None
    assert answer["stdout"] == "now"


def test_a_dacd_that_restarts_during_a_call_is_waited_for_longer_than_one_that_was_never_there(
    dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch
) -> None:
    dacd.does(hangs_up)
    successors: list[FakeDacd] = []

    def happens() -> None:
        if clock.now < 1015:
            dacd.close()
            dacd.path.unlink(missing_ok=True)
        elif not successors:
            successors.append(FakeDacd(dacd.path).does(answers(stdout="back")))

    clock = Clock(happens)
    monkeypatch.setattr(thin, "time", clock)
    answer = ask(dacd.path)
    successors[0].close()
    assert answer is not None
    assert answer["stdout"] == "back"


def test_a_dacd_that_starts_is_waited_for(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin, "time", Clock(lambda: dacd.does(answers(stdout="up"))))
    answer = ask(dacd.path)  # until it listens, connections are refused
    assert answer is not None
    assert answer["stdout"] == "up"


def test_a_full_queue_of_callers_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(f"{tmp_path}/s")
        listening.listen(0)
        first.connect(f"{tmp_path}/s")

        def happens() -> None:
            listening.accept()[0].close()
            monkeypatch.setattr(thin, "exchange", lambda *_: {"rc": 0})

        monkeypatch.setattr(thin, "time", Clock(happens))
        assert ask(tmp_path / "s") == {"rc": 0}


@pytest.mark.parametrize(("patience", "waited"), [(0.5, 0.5), (1, 1), (15, 15)])
def test_a_socket_that_a_dead_dacd_left_is_given_up(
    dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch, patience: float, waited: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(thin, "time", clock)
    assert ask(dacd.path, patience=patience) is None
    assert waited <= clock.now - 1000 <= waited + 0.5


def test_an_answer_that_comes_before_the_request_was_read_counts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/s")
        listening.listen()

        def refuse() -> None:
            peer, _ = listening.accept()
            peer.sendall(b'{"rc":15,"stdout":"too large"}\n')
            peer.close()

        threading.Thread(target=refuse, daemon=True).start()
        assert ask(tmp_path / "s", b"x" * (8 << 20)) == {"rc": 15, "stdout": "too large"}


@pytest.mark.parametrize(
    ("program", "args", "limits"),
    [
        ("fakewarp", "--function job_process", (3.5, 1)),
        ("fakewarp", "--function paths", (3.5, 1)),
        ("fakewarp", "--function=pools", (20, 1)),
        ("fakewarp", "show_sessions", (20, 1)),
        ("fakewarp", "--function real_size --token 5", (20, 1)),
        ("fakewarp", "--token 5 --function setup", (290, 15)),
        ("fakewarp", "--function data_in", (86390, 15)),
        ("fakewarp", "", (290, 15)),
        ("dwstat", "paths", (1.8, 0.5)),
    ],
)
def test_each_call_gives_up_before_slurm_does(
    monkeypatch: pytest.MonkeyPatch, program: str, args: str, limits: tuple[float, float]
) -> None:
    asked: list[tuple[float, float]] = []

    def note(_: bytes, __: bytes, end: float, patience: float) -> dict[str, Any]:
        asked.append((end - 1000, patience))
        return {"rc": 0}

    monkeypatch.setattr(thin, "time", Clock())
    monkeypatch.setattr(thin, "ask", note)
    monkeypatch.setitem(posix.environ, b"DACC_SOCKET", b"/any")
    assert thin.run(program, args.split()) == 0
    assert asked == [pytest.approx(limits)]


@pytest.mark.parametrize("turn", [says_nothing, hangs_up, sends(b'{"alive":true}\n')])
def test_a_call_that_gets_no_answer_ends_with_one_line(dacd: FakeDacd, call: Callable[..., Run], turn: Turn) -> None:
    dacd.does(turn)
    run = call("--function", "show_sessions", env={"DACC_DEADLINE": "0.3"})
    assert (run.returncode, run.stderr) == (1, b"")
    why = "(nothing comes|it closed the connection)"
    assert re.fullmatch(rf"fakewarp: dacd does not answer on {dacd.path}: {why}, after 0 s\n", run.stdout.decode())


def keeps_alive_for(seconds: float, clock: Clock, then: bytes) -> Turn:
    """A dacd that works for so long before it says something else, or hangs up."""

    def turn(peer: socket.socket, _: dict[str, Any]) -> None:
        for _round in range(int(seconds / 5)):
            clock.now += 5
            peer.sendall(b'{"alive":true}\n')
        peer.sendall(then)

    return turn


def test_a_slow_call_lasts_as_long_as_dacd_lives(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which knows how long the Slurm of its site waits, where that is longer than usual."""
    clock = Clock()
    monkeypatch.setattr(thin, "time", clock)
    dacd.does(keeps_alive_for(585, clock, b'{"rc":0,"stdout":"late"}\n'))
    answer = ask(dacd.path, seconds=290, patience=15)
    assert answer is not None
    assert answer["stdout"] == "late"


def test_a_slow_call_is_repeated_also_late_and_says_how_long_it_has_waited(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(thin, "time", clock)
    dacd.does(keeps_alive_for(400, clock, b""), answers(stdout="next"))
    answer = ask(dacd.path, seconds=290, patience=15)
    assert answer is not None
    assert answer["stdout"] == "next"
    assert [request.get("waited", 0) for request in dacd.requests] == [0, pytest.approx(400, abs=1)]


def test_a_dacd_that_never_says_anything_ends_a_slow_call(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    def stays_silent(peer: socket.socket, _: dict[str, Any]) -> None:
        clock.now += 100

    monkeypatch.setattr(thin, "time", clock)
    monkeypatch.setattr(thin, "SILENCE", 60)
    dacd.does(stays_silent)
    with pytest.raises(thin.ThinFailure, match="does not answer"):
        ask(dacd.path, seconds=290, patience=15)


def test_a_deadline_of_the_caller_holds_while_dacd_lives(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(thin, "time", clock)
    monkeypatch.setitem(posix.environ, b"DACC_DEADLINE", b"30")
    dacd.does(keeps_alive_for(500, clock, b""))
    with pytest.raises(thin.ThinFailure, match="nothing comes"):
        ask(dacd.path, seconds=30, patience=15)


def test_keep_alives_do_not_prolong_a_call(dacd: FakeDacd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    def keeps_alive(peer: socket.socket, _: dict[str, Any]) -> None:
        for _round in range(100):
            clock.now += 5
            peer.sendall(b'{"alive":true}\n')

    monkeypatch.setattr(thin, "time", clock)
    dacd.does(keeps_alive)
    with pytest.raises(thin.ThinFailure, match="nothing comes"):
        ask(dacd.path)


@pytest.mark.parametrize(
    "reply",
    [b"nonsense\n", b"[]\n", b"\n", b"\xff\n", b'{"rc":"0"}\n', b'{"rc":true}\n', b'{"rc":0,"stdout":1}\n', b'{"rc":0,"pathfile":[]}\n'],
)
def test_an_answer_that_cannot_be_understood_is_one_line(dacd: FakeDacd, call: Callable[..., Run], reply: bytes) -> None:
    dacd.does(sends(reply))
    run = call("pools")
    assert (run.returncode, run.stderr) == (1, b"")
    assert run.stdout == b"fakewarp: dacd answers in a way that this version does not understand\n"


def test_its_own_lines_have_no_apostrophe_and_no_second_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.complain("fakewarp", ValueError("it's\nbad")) == 1
    assert capfd.readouterr() == ("fakewarp: ValueError: it`s bad\n", "")


def test_whatever_goes_wrong_is_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int) -> NoReturn:
        raise SystemExit(code)

    def broken(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(posix, "_exit", ended)
    monkeypatch.setattr(thin, "run", broken)
    with pytest.raises(SystemExit, match="1"):
        thin.main("dwstat", [])
    assert capfd.readouterr() == ("dwstat: MemoryError:\n", "")


# -- where dacd is, and what happens without


@pytest.mark.parametrize("program", ["fakewarp", "dwstat"])
def test_without_a_socket_the_verbs_run_in_the_process_itself(call: Callable[..., Run], program: str) -> None:
    run = call("--function", "pools", b"\xff", program=program)
    assert (run.returncode, json.loads(run.stdout), run.stderr) == (7, [program, "--function", "pools", "\udcff"], b"")


def test_without_a_socket_anywhere_there_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin, "SYSTEM_SOCKET", b"/nonexistent/dacd.sock")
    monkeypatch.setattr(posix, "environ", {b"XDG_RUNTIME_DIR": os.fsencode(tmp_path)})
    assert thin.socket_path() is None


def test_a_named_socket_goes_before_the_systems_and_that_before_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, user = tmp_path / "system.sock", tmp_path / "dacc/dacd.sock"
    user.parent.mkdir()
    environ = {b"XDG_RUNTIME_DIR": os.fsencode(tmp_path)}
    monkeypatch.setattr(thin, "SYSTEM_SOCKET", os.fsencode(system))
    monkeypatch.setattr(posix, "environ", environ)
    user.touch()
    assert thin.socket_path() == os.fsencode(user)
    system.touch()
    assert thin.socket_path() == os.fsencode(system)
    environ[b"DACC_SOCKET"] = b"/named"
    assert thin.socket_path() == b"/named"


def test_a_directory_that_others_may_have_prepared_is_not_the_users(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.mkdir(mode=0o700)
    link.symlink_to(mine)
    uid = os.geteuid()
    found = [thin.is_private(os.fsencode(path), who) for path, who in [(mine, uid), (mine, uid + 1), (link, uid), (tmp_path / "none", uid)]]
    mine.chmod(0o750)
    assert [*found, thin.is_private(os.fsencode(mine), uid)] == [True, False, False, False, False]


def test_a_socket_that_may_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(thin.ThinFailure, match=r"dacd does not answer on .*: Not a directory"):
        ask(tmp_path / "file/dacd.sock")


# -- the installed script


def test_a_call_imports_nothing_that_costs_time(dacd: FakeDacd, prefix: Path, tmp_path: Path) -> None:
    dacd.does(answers(stdout="x"))
    (tmp_path / "script").write_text("#!/bin/sh\n")
    command: list[str | Path] = [prefix / "bin/python3", "-I", "-S", "-X", "importtime"]
    bare = subprocess.run([*command, "-c", "pass"], capture_output=True, text=True, check=True)
    args: list[str | Path] = [prefix / "bin/fakewarp", "--function", "setup", "--job", "script"]
    run = subprocess.run(
        [*command, *args], env={"DACC_SOCKET": str(dacd.path)}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert imports(run.stderr) - imports(bare.stderr) == {"fakewarp", "fakewarp.thin", "_json", "_socket"}


def imports(report: str) -> set[str]:
    return {line.rpartition("|")[2].strip() for line in report.splitlines()}


def test_the_script_works_through_a_link_and_from_its_own_directory(dacd: FakeDacd, prefix: Path, tmp_path: Path) -> None:
    dacd.does(answers(stdout="x"))
    (tmp_path / "first").symlink_to(prefix / "bin/fakewarp")
    (tmp_path / "second").symlink_to("first")
    environ = {"PATH": "/usr/bin:/bin", "DACC_SOCKET": str(dacd.path)}
    commands: list[tuple[list[str | Path], Path]] = [
        ([tmp_path / "second"], tmp_path),
        (["./fakewarp"], prefix / "bin"),
        (["sh", "fakewarp"], prefix / "bin"),
    ]
    for command, cwd in commands:
        assert subprocess.run(command, cwd=cwd, env=environ, capture_output=True, check=True).stdout == b"x"


def test_the_environment_and_the_working_directory_change_nothing(dacd: FakeDacd, call: Callable[..., Run], tmp_path: Path) -> None:
    for name in ("_json.py", "fakewarp.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')")
    dacd.does(answers(stdout="x"))
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nonexistent", "PYTHONVERBOSE": "1", "LC_ALL": "C"}
    run = call("pools", env=environ)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"x", b"")


def test_an_editable_installation_works_too(dacd: FakeDacd, tmp_path: Path) -> None:
    root = tmp_path / "env"
    site = root / "lib" / VERSION / "site-packages"
    site.mkdir(parents=True)
    make_programs(root)
    dacd.does(answers(stdout="x"))
    environ = {"PATH": "/usr/bin:/bin", "DACC_SOCKET": str(dacd.path)}
    run = subprocess.run([root / "bin/fakewarp"], env=environ, capture_output=True, check=False)
    assert (run.returncode, run.stdout.count(b"\n"), run.stderr) == (1, 1, b"")
    assert b"fakewarp: not installed for" in run.stdout
    (site / "_editable_impl_dacc.pth").write_text(f"{PACKAGE.parent}\n")
    assert subprocess.run([root / "bin/fakewarp"], env=environ, capture_output=True, check=True).stdout == b"x"
