"""The command that Slurm runs at each stage of a job: ask dacd, print what it answers.

Slurm holds its job lock while some calls run, so this module is made to start fast. It imports only what is written in C or
loaded already; even ``typing`` and ``__future__`` would be noticed, and ``json`` or ``socket`` would double a call's time.

It reads the files that its command line names, since it runs as the caller: dacd opens no path that a client names. Whatever
happens it writes nothing to stderr, which for Slurm is the same pipe as stdout.
"""

import _json
import _socket
import posix
import sys
import time

TYPE_CHECKING = False  # type checkers take the name for typing's
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

SYSTEM_SOCKET = b"/run/dacc/dacd.sock"
FILE_OPTIONS = {
    "--job": "job",
    "-j": "job",
    "--nodehostnamefile": "nodehostnamefile",
    "--nidlistfile": "nidlistfile",
    "--jobexecutionnodefile": "jobexecutionnodefile",
}
MAX_FILE = 16 << 20

# Seconds of each kind of call: when Slurm would have stopped waiting, less some; and how long a socket that nobody listens on may
# mean that dacd is just starting. Slurm's own limits are 5 s where it holds its job lock, 2 s for dwstat, else 300 s or a day.
LOCKED, READ, STATUS, SLOW, COPY = (3.5, 1.0), (20.0, 1.0), (1.8, 0.5), (290.0, 15.0), (86390.0, 15.0)
LIMITS = {
    "job_process": LOCKED,
    "paths": LOCKED,
    "pools": READ,
    "show_instances": READ,
    "show_sessions": READ,
    "show_configurations": READ,
    "real_size": READ,
    "data_in": COPY,
    "data_out": COPY,
}
SILENCE = 15.0
"""A living dacd sends a line every 5 s; after this many seconds without anything the call is repeated."""
FOREVER = float("inf")
PAUSE = 0.05

CLOSED = "it closed the connection"


class ThinFailure(Exception):
    """What is printed instead of an answer."""


class _Plain:
    """How :mod:`json` would set up its scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: "dict[str, str]" = {}


def main(program: str, args: "list[str]") -> "NoReturn":
    """Run one call and end the process. Nothing is buffered, so the interpreter's own way out would only take time."""
    try:
        code = run(program, args)
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        code = complain(program, error)
    posix._exit(code)


def complain(program: str, error: BaseException) -> int:
    """Say in one line what went wrong."""
    text = str(error) if isinstance(error, ThinFailure) else f"{type(error).__name__}: {error}"
    # Slurm turns each apostrophe of some outputs into a quotation mark before it parses them.
    line = " ".join(f"{program}: {text}".split()).replace("'", "`")
    try:  # noqa: SIM105 - contextlib is one more import
        write(1, encode(line + "\n"))
    except OSError:
        pass  # whoever started us does not listen any more
    return 1


def run(program: str, args: "list[str]") -> int:
    """Ask dacd, or in its absence the same verbs in a process of their own, and do as the answer says."""
    if program == "fakewarp" and args[:1] == ["install-slurm"]:  # for people: it may take its time
        become("fakewarp.slurm", args[1:])
    limit, patience = STATUS if program == "dwstat" else LIMITS.get(verb(args), SLOW)
    path = socket_path()
    if path is not None:
        end = time.monotonic() + seconds(limit)
        answer = ask(path, request(program, args), end, patience)
        if answer is not None:
            return deliver(answer, option(args, "--pathfile"))
    return fall_back(program, args)


# -- the command line


def verb(args: "list[str]") -> str:
    """The function that is called: Slurm names it with an option, people as the first word."""
    named = option(args, "--function")
    return named if named is not None else "".join(args[:1])


def option(args: "list[str]", name: str) -> "str | None":
    """The last value of an option, if it was given."""
    value = None
    for name_of, value_of in options(args):
        if name_of == name:
            value = value_of
    return value


def options(args: "list[str]") -> "Iterator[tuple[str, str]]":
    """Every ``--option value`` and ``--option=value``."""
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if equals:
            yield name, value
        elif index + 1 < len(args):
            yield arg, args[index + 1]


def seconds(limit: float) -> float:
    """How long this call may take; ``DACC_DEADLINE`` goes first."""
    try:
        return float(posix.environ[b"DACC_DEADLINE"])
    except (KeyError, ValueError):
        return limit


# -- the request


def request(program: str, args: "list[str]") -> bytes:
    """The call as one line of JSON, with the contents of the files that it names."""
    quoted = _json.encode_basestring_ascii
    named = {FILE_OPTIONS[name]: value for name, value in options(args) if name in FILE_OPTIONS}
    contents = {key: contents_of(path) for key, path in named.items()}
    files = ",".join(f"{quoted(key)}:{quoted(text)}" for key, text in contents.items() if text is not None)
    missing = ",".join([quoted(key) for key, text in contents.items() if text is None and is_missing(named[key])])
    words = ",".join([quoted(as_utf8(arg)) for arg in args])
    more = f',"missing":[{missing}]' if missing else ""
    return f'{{"v":1,"program":{quoted(program)},"args":[{words}],"files":{{{files}}}{more}}}\n'.encode("ascii")


def again(line: bytes, waited: float, session: str) -> bytes:
    """The same request once more: for how long it has been asked, and which session dacd said that it is about."""
    named = f'"session":{_json.encode_basestring_ascii(session)},' if session else ""
    return f'{{"waited":{waited:.3f},{named}'.encode("ascii") + line[1:]


def as_utf8(arg: str) -> str:
    """An argument whose bytes are read as UTF-8 whatever the locale says; those that are not become lone surrogates."""
    encoding = sys.getfilesystemencoding()
    return arg if encoding == "utf-8" else decode(arg.encode(encoding, "surrogateescape"))


def decode(data: bytes) -> str:
    """Text that :func:`encode` turns back into the same bytes."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def contents_of(path: str) -> "str | None":
    """The text of a file; nothing if it cannot be read, which the verb judges: some do without it."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = read_all(descriptor)
        finally:
            posix.close(descriptor)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    if len(data) > MAX_FILE:  # half a list of nodes would be worse than none
        raise ThinFailure(f"{path} is larger than {MAX_FILE} bytes")
    return decode(data)


def is_missing(path: str) -> bool:
    """Whether a path leads to nothing at all. For a job that has nothing but lines for persistent buffers, Slurm writes no script."""
    try:
        posix.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def read_all(descriptor: int) -> bytes:
    """A file's bytes, one more than allowed at most."""
    data = b""
    while len(data) <= MAX_FILE and (chunk := posix.read(descriptor, 1 << 20)):
        data += chunk
    return data


# -- dacd


def socket_path() -> "bytes | None":
    """Where dacd listens: the named place, else the first of the usual ones that exists."""
    named = posix.environ.get(b"DACC_SOCKET")
    if named:
        return named
    return next(filter(exists, (SYSTEM_SOCKET, user_socket())), None)


def user_socket() -> bytes:
    """The socket of a user's own dacd. Anyone can make a directory in /tmp: one that is not the user's alone is nobody's."""
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").rstrip(b"/")
    if runtime.startswith(b"/"):
        return runtime + b"/dacc/dacd.sock"
    uid = posix.geteuid()
    directory = b"/tmp/dacc-%d" % uid
    return directory + b"/dacd.sock" if is_private(directory, uid) else b""


def is_private(directory: bytes, uid: int) -> bool:
    """Whether a directory, not a link to one, is open to this user only."""
    try:
        info = posix.lstat(directory)
    except OSError:
        return False
    return info.st_mode & 0o170077 == 0o040000 and info.st_uid == uid


def exists(path: bytes) -> bool:
    """Whether something has this name and may be seen."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def ask(path: bytes, line: bytes, end: float, patience: float) -> "dict[str, Any] | None":
    """The answer; nothing if nobody ever listened. Verbs can be repeated, so a lost connection only means to ask again.

    A slow call lasts as long as dacd lives, which answers in time: it knows how long the site's Slurm waits, and is told how long we have.
    """
    begin = now = time.monotonic()
    lasting = patience >= SLOW[1] and b"DACC_DEADLINE" not in posix.environ
    connected, notice, repeated = False, [""], line
    while True:
        asked = now
        try:
            return exchange(path, repeated, FOREVER if lasting else end, notice)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if not connected and (isinstance(error, FileNotFoundError) or now >= begin + patience):
                return None
            reason = "nobody listens"
        except (ConnectionError, TimeoutError, BlockingIOError) as error:
            connected = True  # BlockingIOError: its queue of callers is full
            reason = CLOSED if isinstance(error, ConnectionError) else "nothing comes"
        except OSError as error:
            raise no_answer(path, error.strerror or str(error)) from None
        now = time.monotonic()
        if lasting and now - asked > 2 * SILENCE:  # it lived meanwhile, and may be back soon
            end = max(end, now + patience)
        pause = PAUSE if now < begin + 1 else 5 * PAUSE  # hundreds of callers may be doing this
        if now + pause >= end:
            raise no_answer(path, f"{reason}, after {now - begin:.0f} s")
        time.sleep(pause)
        repeated = again(line, time.monotonic() - begin, notice[0])


def no_answer(path: bytes, why: str) -> ThinFailure:
    """What to say when there is no answer."""
    return ThinFailure(f"dacd does not answer on {decode(path)}: {why}")


def exchange(path: bytes, line: bytes, end: float, notice: "list[str]") -> "dict[str, Any]":
    """One connection: the request out, keep-alives and the answer in. ``notice`` keeps which session the call is about."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(remaining(end))
        connection.connect(path)
        send(connection, line)
        for reply in replies(connection, end):
            if "rc" in reply:
                return reply
            session = reply.get("session")
            if isinstance(session, str):
                notice[0] = notice[0] or session
        raise ConnectionResetError(CLOSED)
    finally:
        connection.close()


def send(connection: "_socket.socket", line: bytes) -> None:
    """Send the request. A dacd that refuses one without reading all of it has said why, so its answer is read all the same."""
    try:  # noqa: SIM105 - contextlib is one more import
        connection.sendall(line)
    except ConnectionError:
        pass


def replies(connection: "_socket.socket", end: float) -> "Iterator[dict[str, Any]]":
    """The lines that dacd sends, until it closes."""
    pending: list[bytes] = []
    while True:
        connection.settimeout(remaining(end))
        chunk = connection.recv(1 << 18)
        if not chunk:
            return
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield parse(b"".join([*pending, line]))
            pending.clear()
        pending.append(rest)


def remaining(end: float) -> float:
    """How long to wait for a sign of life."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, SILENCE)


def parse(line: bytes) -> "dict[str, Any]":
    """One line of dacd."""
    try:
        reply, _ = _json.make_scanner(_Plain)(line.decode("utf-8"), 0)  # type: ignore[arg-type]  # it only looks at attributes
    except (ValueError, StopIteration):
        reply = None
    if not isinstance(reply, dict):
        raise ThinFailure("dacd answers in a way that this version does not understand")
    return reply


# -- the answer


def deliver(answer: "dict[str, Any]", pathfile: "str | None") -> int:
    """Write what the answer says, and return its exit code."""
    code, output, lines = answer["rc"], answer.get("stdout", ""), answer.get("pathfile")
    if type(code) is not int or not isinstance(output, str) or not isinstance(lines, str | None):
        raise ThinFailure("dacd answers in a way that this version does not understand")
    if lines is not None:
        write_file(pathfile, encode(lines))
    try:
        write(1, encode(output))
    except OSError:
        return 1  # the answer was not heard
    return code if 0 <= code <= 255 else 1


def write_file(path: "str | None", data: bytes) -> None:
    """Write the job's environment where Slurm reads it. A job that was requeued finds its old file there."""
    if path is None:
        raise ThinFailure("the answer is for a file, and --pathfile names none")
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        descriptor = posix.open(path, flags, 0o600)
        try:
            write(descriptor, data)
        finally:
            posix.close(descriptor)
    except OSError as error:
        raise ThinFailure(f"cannot write {path}: {error.strerror}") from None


def write(descriptor: int, data: bytes) -> None:
    """Write everything, at once where the other side takes it at once."""
    while data:
        try:
            data = data[posix.write(descriptor, data) :]
        except BlockingIOError:  # a pipe that its reader made non-blocking
            time.sleep(PAUSE)


def fall_back(program: str, args: "list[str]") -> "NoReturn":
    """Become the program that runs the verbs itself. The name of the module decides what it may do, no variable of a caller."""
    become("fakewarp" if program == "fakewarp" else f"fakewarp.{program}", args)


def become(module: str, args: "list[str]") -> "NoReturn":
    """Become a module's program, with the interpreter of this installation and all of its packages."""
    posix.execv(sys.executable, [sys.executable, "-I", "-m", module, *args])
