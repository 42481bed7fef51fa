"""One daemon put together from the configuration: store, engine, executor, socket, front ends."""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import pwd
import socket
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from .. import sdk
from ..config import Config, make_runtime_dir
from ..errors import BadConfig, DaccError, HostNameTaken
from ..hosts.factory import runner_for
from ..keystore.base import Keystore
from ..keystore.open import open_store
from ..lifecycle.effects import Rules
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment
from ..movers import RsyncMover
from ..plugins import is_strict, list_providers, load_frontend, load_provider, new_manager, refuse_problems
from ..values import Brick, BrickRef
from ..verbs.frontend import Answer, FrontEnd, FrontEndContext, ParsedCall, SessionNotice
from ..verbs.sessions import VerbContext
from .executor import Executor
from .protocol import SocketRequest
from .runtime import ThreadRuntime, clock
from .server import Reply, Server
from .telemetry import Telemetry
from .telemetry.events import notify
from .usage import UsageMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("dacc.daemon")
CHECK_SECONDS = 30.0
SHORTEST_CALL = 0.5


def rules(config: Config) -> Rules:
    """The core's numbers from the site's settings."""
    limits = config.deadlines
    return Rules(
        lease_ttl=config.lease_ttl,
        deadlines={
            "create": limits.create,
            "restore": limits.restore,
            "mount": limits.mount,
            "unmount": limits.unmount,
            "delete": limits.delete,
            "stage": limits.stage,
        },
        teardown_budget=limits.teardown,
        attempts=config.retries.attempts,
        first_wait=config.retries.first_wait,
        history_days=config.history.days,
        history_number=config.history.number,
        max_pre_run_failures=config.max_pre_run_failures,
        mover_host=config.mover.host,
    )


class Service:
    """``dacd`` as an object. :meth:`run` blocks until it was stopped; the reason of a failure is raised."""

    def __init__(self, config: Config, host: str) -> None:
        self.config, self.host = config, host
        if any(place.startswith(config.runtime_dir + "/") for place in (config.socket, config.mover_root, config.hosts.fence_dir)):
            make_runtime_dir(config)
        self.frontends: dict[str, FrontEnd] = {name: load_frontend(name) for name in config.frontends}
        if is_strict():
            refuse_problems(list_providers(config.plugins.disabled))
        self._manager, self._loading = new_manager(), threading.Lock()
        self._load = functools.cache(functools.partial(load_provider, config=config, manager=self._manager))
        bricks = tuple(Brick(device=brick.device, capacity=brick.capacity, pool=brick.pool) for brick in config.bricks_of(host))
        providers = self._load_providers(bricks)
        self._environment = self._make_environment()
        self._check_host(bricks)
        self._telemetry = Telemetry(config, host, self._manager)
        try:
            self.store, self._lock = self._open()
        except DaccError:
            self._telemetry.close()
            raise
        self.engine = Engine(
            host,
            uuid.uuid4().hex,
            bricks=bricks,
            pools={name: (pool.granularity, pool.provider) for name, pool in config.pools.items() if bricks},
            rules=rules(config),
            cluster=config.cluster,
            boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            lock=_identity(self._lock),
            who=f"pid {os.getpid()} on {socket.gethostname()}",
            providers={name: ".".join(map(str, provider.api)) for name, provider in providers.items()},
        )
        self._runtime = ThreadRuntime()
        self.executor = Executor(self.engine, self.store, self._environment, self._runtime, listener=self._telemetry.listener)
        self._usage = UsageMonitor(self.executor.inquire, self.store, self._environment, config.usage_interval)
        self._server = Server(config.socket, self._handle, trusted=self._trusted)

    def _open(self) -> tuple[Keystore, int]:
        """The keystore, and the lock of the host name."""
        store = open_store(self.config, create=True)  # before the lock: it gives the state directory its group and mode
        try:
            return self._telemetry.measured(store), _lock_host_name(self.config, self.host)
        except DaccError:
            store.close()
            raise

    def _provider(self, name: str) -> sdk.Provider:
        """A provider by name, made once; its package's observers are called from then on."""
        with self._loading:
            return self._load(name)

    def _load_providers(self, bricks: tuple[Brick, ...]) -> dict[str, sdk.Provider]:
        """A configured provider that cannot load stops the daemon here, before it offers anything."""
        used = {self.config.pools[brick.pool].provider for brick in bricks} or {pool.provider for pool in self.config.pools.values()}
        return {name: self._provider(name) for name in sorted(used)}

    def _check_host(self, bricks: tuple[Brick, ...]) -> None:
        """Bricks that this host cannot serve are not offered: the daemon ends here with what is to be mended."""
        pools = self.config.pools
        for name in sorted({pools[brick.pool].provider for brick in bricks}):
            context = sdk.Context(hosts=self._environment.runner, deadline=sdk.Deadline.after(CHECK_SECONDS))
            mine = tuple(BrickRef(host=self.host, device=brick.device) for brick in bricks if pools[brick.pool].provider == name)
            self._provider(name).check_host(sdk.CheckHost(context=context, host=self.host, bricks=mine))

    def _make_environment(self) -> StepEnvironment:
        Path(self.config.mover_root).mkdir(mode=0o700, parents=True, exist_ok=True)
        runner = runner_for(self.config)
        return StepEnvironment(self._provider, runner, RsyncMover(self.config.mover.digest), self.config.mount_root, self.config.mover_root)

    # --- running ---

    def run(self) -> None:
        """Serve until stopped. Raises the error that ended it, if one did."""
        self._server.start()
        self._telemetry.start(lambda: self.executor.silence, self.executor.inquire)
        self._usage.start()
        log.info("dacd runs", extra={"host": self.host, "socket": self.config.socket, "store": self.store.where})
        self.executor.start()
        self._runtime.run(self.executor.take)
        error = self.executor.error
        self._close()
        log.info("dacd ends", extra={"host": self.host, "why": str(error or "")})
        if error is not None:
            raise error

    def stop(self) -> None:
        """Begin to stop; from any thread or a signal handler."""
        self.executor.stop()

    def _close(self) -> None:
        self._usage.stop()
        self._server.close(drain=True)
        self._telemetry.close()
        self.store.close()
        self._runtime.close()

    # --- calls ---

    def _handle(self, request: SocketRequest, reply: Reply) -> None:
        """In the connection's own thread: parse here, then let the core run the verb."""
        frontend = self.frontends.get(request.program)
        if frontend is None:
            refusal = Answer(rc=15, stdout=f"{request.program}: this daemon does not serve it: add it to the setting frontends\n")
            self._answer(reply, refusal, "other", "", clock().mono)
            return
        begun = clock().mono
        parsed: ParsedCall | None = None

        def answered(answer: Answer | Exception) -> None:
            final = frontend.failure(parsed, answer) if isinstance(answer, Exception) else answer
            self._answer(reply, final, request.program, parsed.function.name if parsed else "", begun)

        try:
            parsed = frontend.parse(request.call)
            verb = frontend.run(parsed, self._context(lambda session: reply(SessionNotice(session))))
            # Who asks again, because the daemon was restarted, has less time left.
            seconds = max(SHORTEST_CALL, parsed.function.seconds(self.config) - request.call.age())
        except Exception as error:
            _complain(error)
            answered(error)
            return
        self.executor.call(verb, seconds, parsed.token, answered)

    def _answer(self, reply: Reply, answer: Answer, program: str, function: str, begun: float) -> None:
        reply(answer)
        notify(self._telemetry.metrics.called, program, function, answer.rc, clock().mono - begun)

    def _context(self, send_notice: Callable[[str], None]) -> FrontEndContext:
        config = self.config
        verb_context = VerbContext(self.engine.view, lambda: clock().wall, config.max_pre_run_failures, config.slurm.buffer_wait)
        return FrontEndContext(verb_context, config, silence=lambda: self.executor.silence, send_notice=send_notice)

    def _trusted(self, uid: int) -> bool:
        return uid in (0, os.geteuid(), _uid_of(self.config.slurm_user))


@functools.cache
def _uid_of(user: str | int) -> int:
    try:
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    except KeyError:
        return -1


def _complain(error: Exception) -> None:
    if not isinstance(error, DaccError):
        log.error("a call could not be parsed", exc_info=error)


def _lock_host_name(config: Config, host: str) -> int:
    """A lock that proves this to be the only daemon of this host name; the kernel frees it however we end."""
    path = Path(config.state_dir) / f"dacd.{host}.lock"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # a store that is elsewhere has not made it
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise BadConfig(problems=f"state_dir {config.state_dir}: {path.name} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        raise HostNameTaken(host=host, who=f"pid {holder or 'unknown'}") from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _identity(lock: int) -> str:
    """The lock's file: the same one at the same boot means that who held it before us is dead."""
    info = os.fstat(lock)
    return f"{info.st_dev}:{info.st_ino}"
