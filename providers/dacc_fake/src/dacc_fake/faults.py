"""Faults on demand: which call goes wrong, on which host, how often, and how."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from dacc_core import sdk
from dacc_core.sdk import Context, DaccError, InvalidRequest, Unavailable

PARTIAL: dict[str, tuple[str, ...]] = {
    "create": ("marked", "formatted", "renamed"),
    "delete": ("removed",),
    "mount": ("mounted", "populated"),
    "unmount": ("unlinked", "unmounted"),
    "swap_on": ("allocated", "formatted"),
    "swap_off": ("disabled",),
    "check_host": (),
    "usage": (),
    "restore": (),
}
"""The calls, and the places in each at which ``partial`` may end the work on the host."""

ERRORS: dict[str, type[DaccError]] = {
    name: value for name, value in vars(sdk).items() if isinstance(value, type) and issubclass(value, DaccError) and value is not DaccError
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Of the faults that match a call, the first one that is not used up applies. Calls that take several hosts (mount, unmount,
    swap_on, swap_off) are matched and counted for each host, and a fault there is that host's result only; create, delete, usage and
    restore are counted once, and match when any of the volume's brick hosts does.
    """

    call: str
    """``create``, ``delete``, ``mount``, ``unmount``, ``swap_on``, ``swap_off``, ``check_host``, ``usage`` or ``restore``."""

    host: str = "*"
    """The host, or a pattern with ``*``, ``?`` and ``[…]``."""

    token: str = "*"  # noqa: S105  (a session's name)
    """The session's token, or a pattern."""

    times: int = 1
    """How many calls it hurts; 0: every one."""

    skip: int = 0
    """How many matching calls pass unhurt first."""

    error: str = ""
    """The error's class, as :mod:`dacc_core.sdk` names it. Empty: ``Unavailable``, or none when only ``delay`` is given."""

    text: str = ""
    """The error's text; empty: one that names call, host and count."""

    delay: float = 0.0
    """Seconds to wait; alone it makes the call slow, and the call then works."""

    hang: bool = False
    """Wait until the call is cancelled or its deadline passes."""

    when: Literal["before", "after"] = "before"
    """``after``: the work is done first, and then the answer is late or an error (a lost answer)."""

    partial: str = ""
    """Do the work up to this place, end there as a crash would, then fail: see :data:`PARTIAL`."""

    def __post_init__(self) -> None:
        problem = next((text for wrong, text in self._problems() if wrong), "")
        if problem:
            raise InvalidRequest(why=problem)

    def _problems(self) -> Iterable[tuple[bool, str]]:
        yield self.call not in PARTIAL, f"call {self.call!r}: choose one of {', '.join(PARTIAL)}"
        for name in ("host", "token", "error", "text", "partial"):
            yield not isinstance(getattr(self, name), str), f"{name} {getattr(self, name)!r}: write a string (in quotes)"
        for name in ("times", "skip"):
            value = getattr(self, name)
            yield type(value) is not int or value < 0, f"{name} {value!r}: write a whole number, 0 or more"
        yield type(self.delay) not in (int, float) or not 0 <= self.delay < 1e9, f"delay {self.delay!r}: write seconds, 0 or more"
        yield type(self.hang) is not bool, f"hang {self.hang!r}: write true or false"
        yield bool(self.error) and self.error not in ERRORS, f"error {self.error!r}: choose one of {', '.join(sorted(ERRORS))}"
        yield self.when not in ("before", "after"), f"when {self.when!r}: choose before or after"
        places = PARTIAL[self.call]
        yield (
            bool(self.partial) and self.partial not in places,
            (f"partial {self.partial!r}: {self.call} has {', '.join(places) or 'no such places'}"),
        )
        yield bool(self.partial) and self.when == "after", "partial with when: after: drop one of them"

    @property
    def fails(self) -> bool:
        """Whether the call ends with an error, rather than only late."""
        return bool(self.error or self.partial or self.hang) or not self.delay

    @property
    def seconds(self) -> float:
        """How long it waits."""
        return float("inf") if self.hang else self.delay

    def failure(self, where: str) -> DaccError:
        """The error that it stands for."""
        text = self.text or f"{self.call} on {where} failed because the fake provider's settings say so: remove the fault"
        return ERRORS[self.error or "Unavailable"].from_text(text)

    def wait(self, context: Context, since: float) -> None:
        """Let its delay pass, counted from ``since`` (monotonic seconds).

        Raises Cancelled when the call is cancelled, Unavailable when its deadline comes first.
        """
        end = since + self.seconds
        while (left := end - time.monotonic()) > 0:
            context.cancel.check(self.call)
            if not context.deadline.remaining():
                raise Unavailable(why=f"{self.call} did not end before its deadline (a fault of the fake provider made it wait)")
            # Short slices, because a deadline may follow another clock than the one that sleeping uses.
            context.cancel.wait(min(left, context.deadline.remaining(), 0.25))
        context.cancel.check(self.call)


def parse_faults(entries: Sequence[Any]) -> tuple[Fault, ...]:
    """The faults that a configuration lists. Raises InvalidRequest naming the entry that makes no sense."""
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise InvalidRequest(why=f"faults of the fake provider: write a list, not {entries!r}")
    return tuple(_parse(f"faults[{number}] of the fake provider", entry) for number, entry in enumerate(entries))


def _parse(where: str, entry: Any) -> Fault:
    if isinstance(entry, Fault):
        return entry
    if not isinstance(entry, Mapping) or "call" not in entry:
        raise InvalidRequest(why=f"{where}: {entry!r} names no call: write a mapping such as {{call: mount, host: c2, times: 2}}")
    known = {field.name for field in fields(Fault)}
    if unknown := sorted(str(key) for key in entry if key not in known):
        raise InvalidRequest(why=f"{where}: {', '.join(unknown)} is not known: choose from {', '.join(sorted(known))}")
    try:
        return Fault(**entry)
    except InvalidRequest as error:
        raise InvalidRequest(why=f"{where}: {error}") from None


class FaultPlan:
    """The faults of one provider, and how often each was met. Safe for threads and, with a directory, for processes."""

    def __init__(self, faults: Sequence[Fault], directory: str = "") -> None:
        self._faults = faults
        self._directory = Path(directory) if directory else None
        self._lock = threading.Lock()
        self._met: Counter[tuple[int, str]] = Counter()

    def take(self, call: str, token: str, hosts: Iterable[str], key: str = "") -> Fault | None:
        """The fault that hurts this call, if any, counting it. ``key`` separates counts (the host, for per-host calls)."""
        for number, fault in enumerate(self._faults):
            if fault.call != call or not fnmatchcase(token, fault.token):
                continue
            if not any(fnmatchcase(host, fault.host) for host in hosts):
                continue
            met = self._count(number, key)
            if met > fault.skip and (not fault.times or met <= fault.skip + fault.times):
                return fault
        return None

    def _count(self, number: int, key: str) -> int:
        if self._directory is not None:
            return _count_in_file(self._directory / self._file_name(number, key))
        with self._lock:
            self._met[number, key] += 1
            return self._met[number, key]

    def _file_name(self, number: int, key: str) -> str:
        # The entry's content is part of the name: an edited fault counts anew, an untouched one goes on.
        digest = hashlib.sha256(repr(sorted(asdict(self._faults[number]).items())).encode()).hexdigest()[:12]
        return f"{number}-{self._faults[number].call}-{digest}-{quote(key, safe='')}"


def _count_in_file(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        count = int(file.read() or 0) + 1
        file.seek(0)
        file.write(str(count))
        file.flush()
        return count
