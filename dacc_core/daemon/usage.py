"""How full volumes are: asked of their providers now and then, beside the engine and never in the way of a step."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from .. import sdk
from ..errors import DaccError, ProviderBug
from ..keystore.base import Keystore
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment
from ..names import clean_text
from ..registry.records import Session, Status, VolumeUsage
from ..registry.transaction import Commit, TransactionBuilder
from ..registry.view import View

log = logging.getLogger("dacc.usage")
T = TypeVar("T")
ASK_SECONDS = 20.0
"""How long a provider may take to answer."""
READ_SECONDS = 5.0
SIGNIFICANT = 0.01
"""A part of the capacity: a change by less is not written, since every daemon reads what is written."""
MOST_BYTES = (1 << 63) - 1


class EngineReader(Protocol):
    """Calls ``read`` on the engine's thread, where nothing changes meanwhile; ``None`` if that takes longer than ``seconds``."""

    def __call__(self, read: Callable[[Engine], T], seconds: float) -> T | None: ...


class UsageMonitor:
    """Measures the volumes of the sessions that this host coordinates, one after the other, in a thread of its own.

    A volume is measured only while no step of its session is under way, under the session's generation: what a former coordinator still
    asks is ended by the fence like any other command. What was measured is written only if the session and its status are still those
    for which it was asked. ``interval``: seconds between two measurements of a volume.
    """

    def __init__(self, read_engine: EngineReader, store: Keystore, environment: StepEnvironment, interval: float) -> None:
        self._read_engine, self._store, self._environment = read_engine, store, environment
        self._interval = interval
        self._stop, self._cancel = threading.Event(), sdk.CancelToken()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Begin to measure, one interval from now."""
        self._thread.start()

    def stop(self) -> None:
        """End the measurement that is under way, and begin no other."""
        self._stop.set()
        self._cancel.cancel()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.measure_all()
            except Exception:  # its defect costs a measurement, never the daemon
                log.exception("measuring usage failed")

    def measure_all(self) -> None:
        """Measure each volume once."""
        for token in self._read_engine(lambda engine: [session.token for session in measurable(engine)], READ_SECONDS) or ():
            if self._stop.is_set():
                return
            self.measure(token)

    def measure(self, token: str) -> None:
        """Measure one volume, if it can be measured now, and write the result if it is news."""
        subject: tuple[Session, Status] | None = self._read_engine(lambda engine: _subject(engine, token), READ_SECONDS)
        if subject is None:
            return
        try:
            usage = self._ask(*subject)
        except DaccError as error:
            log.warning("usage is not known", extra={"session": token, "why": str(error)})
            return
        if usage is None:
            return
        commit: Commit | None = self._read_engine(lambda engine: _record(engine.view, subject, usage), READ_SECONDS)
        if commit is not None and not self._stop.is_set():
            try:
                self._store.txn(commit.compares, commit.ops)
            except DaccError as error:
                log.warning("usage could not be written", extra={"session": token, "why": str(error)})

    def _ask(self, session: Session, status: Status) -> VolumeUsage | None:
        """What the provider says; ``None`` if it cannot say. Raises DaccError."""
        volume = session.volume
        provider = self._environment.providers(volume.provider) if volume is not None else None
        if volume is None or not isinstance(provider, sdk.UsageProvider):
            return None
        hosts = self._environment.runner.fenced(session.key, status.generation, self._cancel)
        context = sdk.Context(
            hosts=hosts,
            deadline=sdk.Deadline.after(ASK_SECONDS),
            cancel=self._cancel,
            generation=status.generation,
            token=session.token,
            log=logging.getLogger("dacc.provider"),
        )
        request = sdk.VolumeRequest(context=context, volume=volume, state=status.provider_state)
        try:
            return _read(provider.usage(request), volume.provider)
        except DaccError:
            raise
        except Exception as error:
            raise ProviderBug(provider=volume.provider, where="usage", why=clean_text(f"{type(error).__name__}: {error}")) from error


def measurable(engine: Engine) -> Iterator[Session]:
    """The sessions whose volumes this host may measure now: it coordinates them, they are ready, and no step is under way."""
    for entry in engine.view.sessions.values():
        status = engine.view.status(entry.record.token)
        if _may_measure(engine, entry.record, status):
            yield entry.record


def _may_measure(engine: Engine, session: Session, status: Status) -> bool:
    return (
        engine.may_act()
        and (status.coordinator, status.incarnation) == (engine.host, engine.incarnation)
        and session.volume is not None
        and session.goal.filesystem == status.filesystem == "ready"
        and status.running is None
        and not session.lost
    )


def _subject(engine: Engine, token: str) -> tuple[Session, Status] | None:
    session, status = engine.view.session(token), engine.view.status(token)
    return (session, status) if session is not None and _may_measure(engine, session, status) else None


def _record(view: View, subject: tuple[Session, Status], usage: VolumeUsage) -> Commit | None:
    """The transaction that writes a measurement; ``None`` if it is no news or about what has changed meanwhile."""
    token = subject[0].token
    if (view.session(token), view.status(token)) != subject:
        return None
    entry = view.usages.get(token)
    if entry is not None and not _differs(entry.record, usage):
        return None
    return TransactionBuilder(view).expect("sessions", token).expect("status", token).put(usage, "usage", token).commit()


def _differs(before: VolumeUsage, after: VolumeUsage) -> bool:
    return before.capacity != after.capacity or abs(before.used - after.used) >= max(1, SIGNIFICANT * after.capacity)


def _read(answer: Mapping[str, int], provider: str) -> VolumeUsage:
    """A provider's answer as a record. Raises ProviderBug."""
    try:
        capacity, used = answer["capacity"], answer["used"]
    except (KeyError, TypeError):
        raise ProviderBug(provider=provider, where="usage", why="it does not name capacity and used") from None
    if not all(isinstance(number, int) and 0 <= number <= MOST_BYTES for number in (capacity, used)):
        raise ProviderBug(provider=provider, where="usage", why="capacity and used are not numbers of bytes")
    return VolumeUsage(capacity=capacity, used=used, at=time.time())
