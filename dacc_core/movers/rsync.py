"""Copy with rsync, on the mover host, as the user; both sides are local there."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import DaccError, Denied, NoSpace, StepFailed
from ..failpoints import failpoint
from ..sdk.hosts import Command, CommandResult
from ..values import Progress
from .answers import MAX_COUNT
from .base import CopyOrder, CopyReport, show
from .pairs import Pair, PathReader
from .users import PASSAGE, entering, look_up_user
from .walker_client import SurveyedPair, WalkerClient

OWN_VOLUME = "DW_JOB_STRIPED"
"""The buffer that :attr:`CopyOrder.limit` is about, when a job has several."""

_VANISHED = 24  # rsync(1): some source files vanished before they could be transferred
_PROGRESS_SECONDS = 1.0

RSYNC = (
    "rsync",
    "--recursive",
    "--links",  # symbolic links as they are: their targets are not ours to judge
    "--perms",
    "--times",
    "--group",  # where the user is in the group; the owner is the user himself
    "--numeric-ids",
    "--hard-links",
    "--sparse",
    "--specials",  # FIFOs and sockets; devices are not a user's to make
    # Both sides are local, so deltas would only read twice. An interrupted copy goes on where it was by file: what has the
    # source's size and time is done. In place rather than through temporary files: a killed rsync leaves those behind in the
    # user's directories, a file begun in place is begun anew; and on Lustre each would cost a rename. The walker has
    # removed the old files that will be replaced, so nothing is ever half old and half new.
    "--whole-file",
    "--inplace",
    "--info=progress2",
    "--no-human-readable",
)

_CONTENT = ("--files-from=-", "--from0", "--no-implied-dirs")
_WITH_CONTENT = """
import os, signal, sys
names, pipe = os.pipe()
if not os.fork():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with open(pipe, "wb") as file:
        for entry in os.scandir(os.fsencode(sys.argv[-2])):
            file.write(b"./" + entry.name + b"\\0")
    os._exit(0)
os.dup2(names, 0)
os.close(pipe)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.stderr.write("%s: %s" % (sys.argv[1], error.strerror))
    os._exit(127)
"""
"""Names what is in a source directory, so that rsync leaves the destination directory itself as it is."""


@dataclass(slots=True)
class ProgressMeter:
    """Reads rsync's progress lines and reports at most once a second."""

    report: Callable[[Progress], None]
    total_files: int
    total_bytes: int
    cleared: str = ""
    done_files: int = 0
    done_bytes: int = 0
    _rest: bytes = b""
    _reported_at: float = field(default_factory=time.monotonic)

    def feed(self, chunk: bytes) -> None:
        """Standard output of a running rsync."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest[-200:] + chunk)
        for line in reversed(lines):
            # Of so many digits at most: it is a process of the user's that writes this.
            if match := re.match(rb"\s*(\d{1,18})\s+\d{1,3}%.*?(?:\(xfr#(\d{1,18})\b|$)", line):
                self._report_now_and_then(int(match[2] or 0), int(match[1]))
                return

    def done(self, pair: SurveyedPair) -> None:
        """A pair is copied: what it had counts, whether it was transferred now or before."""
        self.done_files += pair.files
        self.done_bytes += pair.bytes
        self._rest = b""
        self._report_now_and_then(0, 0)

    def _report_now_and_then(self, files: int, size: int) -> None:
        now = time.monotonic()
        if now - self._reported_at >= _PROGRESS_SECONDS:
            self._reported_at = now
            self.report_now(files, size)

    def report_now(self, files: int = 0, size: int = 0) -> None:
        """Report now; ``files`` and ``size`` are of the pair under way."""
        files = min(self.done_files + files, self.total_files, MAX_COUNT)
        size = min(self.done_bytes + size, self.total_bytes, MAX_COUNT)
        total_files, total_bytes = min(self.total_files, MAX_COUNT), min(self.total_bytes, MAX_COUNT)
        self.report(Progress(files=files, bytes=size, total_files=total_files, total_bytes=total_bytes, cleared=self.cleared))


class RsyncMover:
    """The mover that every site can use. ``digest``: after the copy compare contents too, byte by byte, not only sizes and times."""

    def __init__(self, digest: bool = False) -> None:
        self._digest = digest

    def copy(self, order: CopyOrder) -> CopyReport:
        """Copy and compare; see :class:`~dacc_core.movers.base.Mover`."""
        begun = time.monotonic()
        order.context.cancel.check(order.step)
        order.context.deadline.check(order.step)
        user = look_up_user(order.context, order.host, order.uid, order.gid)
        walker = WalkerClient(order, user)
        pairs = _each_once(walker.survey(_pairs(order, walker, user.home)))
        walker.check_apart(pairs)
        _check_space(order, walker, pairs)
        mark = _mark(order, pairs)
        fresh = walker.prepare(pairs, resumed=order.resumed == mark)
        meter = ProgressMeter(order.context.progress, sum(pair.files for pair in pairs), sum(pair.bytes for pair in pairs), mark)
        meter.report_now()
        for pair, new in zip(pairs, fresh, strict=True):
            failpoint("mover-rsync")
            _rsync(walker, pair, new, meter)
            meter.done(pair)
        self._compare(walker, pairs, meter)
        meter.report_now()
        return CopyReport(min(meter.done_files, MAX_COUNT), min(meter.done_bytes, MAX_COUNT), time.monotonic() - begun)

    def _compare(self, walker: WalkerClient, pairs: Sequence[SurveyedPair], meter: ProgressMeter) -> None:
        try:
            walker.compare(pairs, self._digest)
        except StepFailed:
            meter.cleared = ""  # a copy that differs is not gone on with, although it may have its source's size and time
            meter.report_now()
            raise


def _each_once(pairs: Sequence[SurveyedPair]) -> list[SurveyedPair]:
    """What is asked for twice, the same source at the same place, is one copy."""
    unique: dict[tuple[str, str, str], SurveyedPair] = {}
    for pair in pairs:
        unique.setdefault((pair.variable, pair.source, pair.destination), pair)
    return list(unique.values())


def _mark(order: CopyOrder, pairs: Sequence[SurveyedPair]) -> str:
    """A name for this very copy: what is resumed must be of the same sources, unchanged, and have cleared the same destinations.

    Nobody can set back when a file was changed (ctime). Paths may be a host's own.
    """
    facts = [(pair.variable, pair.source, pair.destination, pair.folder, pair.files, pair.bytes, pair.changed) for pair in pairs]
    return hashlib.sha256(repr((order.direction, order.host, facts)).encode()).hexdigest()[:32]


def _pairs(order: CopyOrder, walker: WalkerClient, home: str) -> list[Pair]:
    reader = PathReader(order.direction, order.roots, home)
    pairs: list[Pair] = []
    for request in order.requests:
        if request.kind == "list":
            listing = reader.path("list", request.source)
            pairs += reader.pairs_of_list(request.source, walker.read_list(listing), request.destination)
        else:
            pairs.append(reader.pair(request.kind, request.source, request.destination))
    return pairs


def _check_space(order: CopyOrder, walker: WalkerClient, pairs: Sequence[SurveyedPair]) -> None:
    """Hold a volume to its capacity where its filesystem does not. Raises NoSpace."""
    variable = OWN_VOLUME if OWN_VOLUME in order.roots else next(iter(order.roots), "")
    growth = sum(pair.growth for pair in pairs if pair.requested.destination.variable == variable)
    if not order.limit or growth <= 0:
        return
    used = walker.usage(order.roots[variable])
    if used + growth > order.limit:
        room = max(0, order.limit - used)
        left = f"which has {room} of {order.limit} left"
        raise NoSpace(why=f"{order.step} needs {growth} bytes in ${variable}, {left}: ask for more capacity")


def _rsync(walker: WalkerClient, pair: SurveyedPair, new: bool, meter: ProgressMeter) -> None:
    """Copy one pair. Its paths are absolute: rsync reads them neither as an option nor as a remote host."""
    order = walker.order
    context = order.context
    context.cancel.check(order.step)
    context.deadline.check(order.step)
    command = Command(_command(walker, pair, new), timeout=context.deadline.remaining(), on_output=meter.feed)
    result = context.hosts.run([order.host], command)[order.host]
    if result.error is not None:
        raise result.error
    if result.returncode:
        raise _error(walker, pair, result)


def _command(walker: WalkerClient, pair: SurveyedPair, new: bool) -> list[str]:
    """rsync as the user. A directory that was there before keeps its owner, mode and times: it may be a project's or the buffer's root."""
    python, root = walker.order.context.hosts.python, walker.order.roots[pair.variable]
    passage = PASSAGE if walker.user.needs_passage else ""
    slash = "/" if pair.folder else ""  # the directory's content, not the directory
    inside = passage or root.path
    paths = [(inside + path[1:] if path.startswith("./") else path) + slash for path in (pair.source, pair.destination)]
    words = (*RSYNC, "--", *paths) if new or not pair.folder else (python, "-I", "-S", "-c", _WITH_CONTENT, *RSYNC, *_CONTENT, "--", *paths)
    return entering(python, [root], walker.user.command(words), passage)


def _error(walker: WalkerClient, pair: SurveyedPair, result: CommandResult) -> DaccError:
    """What rsync's exit status and first words mean."""
    variable = f"${pair.variable}".encode()
    stderr = result.stderr.replace(PASSAGE.encode(), variable).replace(os.fsencode(walker.order.roots[pair.variable].path), variable)
    lines = [line for line in stderr.split(b"\n") if line.strip()]
    text = next((line for line in lines if re.search(rb"\(\d+\)$", line)), lines[0] if lines else b"")
    reason = show(text.removeprefix(b"rsync: "))[:500] or f"exit status {result.returncode}"
    copied = f"{pair.requested.source} to {pair.requested.destination}"
    full = next((line for line in lines if re.search(rb"\((28|122)\)$", line)), b"")  # ENOSPC, EDQUOT
    if full:
        return NoSpace(why=f"{walker.order.step} of {copied}: {show(full.removeprefix(b'rsync: '))[:500]}")
    # EPERM, EACCES. In place, rsync answers EACCES by trying to open without creating, and reports that attempt's ENOENT.
    if re.search(rb"\((1|13)\)$|^rsync: \[receiver\] open .*\(2\)$", text):
        return Denied(who=f"user {walker.order.uid}", what=f"copy {copied} on host {walker.order.host}", why=reason)
    if result.returncode == _VANISHED:
        return walker.changed(pair.requested.source, reason)
    if result.returncode == 127:
        return walker.failure(f"host {walker.order.host} has no rsync: install it there ({reason})")
    return walker.failure(f"rsync of {copied}: {reason} (exit status {result.returncode})")
