"""Runs one step for real: through the provider, the mover and the fenced host runner. Blocking; one thread each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from .. import sdk
from ..errors import DaccError, NoSuchBuffer, NoSuchProvider, ProviderBug, StepFailed, TooLarge, Unsupported
from ..failpoints import failpoint
from ..hosts.base import FencingRunner
from ..hosts.excluding import Without
from ..movers.base import CopyOrder, CopyReport, Mover, Root
from ..names import clean_text, expand
from ..registry.records import Session
from ..values import Progress, StageRequest, Volume
from ..verbs import paths
from .effects import StepOrder
from .transitions import StepOutcome, is_gone

log = logging.getLogger("dacc.step")
MAX_ERROR = 2000
"""Characters of a step's error: it is part of a record, and a user reads it."""


class Providers(Protocol):
    """Providers by the name that a pool gives."""

    def __call__(self, name: str) -> sdk.Provider: ...


@dataclass(frozen=True, slots=True)
class StepEnvironment:
    """What steps are run with."""

    providers: Providers
    runner: FencingRunner
    mover: Mover
    mount_root: str
    mover_root: str


@dataclass(frozen=True, slots=True)
class UsedVolume:
    """A volume that the session uses, and where its nodes have it. ``variable``: how stage requests name it."""

    owner: Session
    volume: Volume
    state: Mapping[str, object]
    path: str
    variable: str
    own: bool


def run_step(order: StepOrder, environment: StepEnvironment, cancel: sdk.CancelToken, report: Callable[[Progress], None]) -> StepOutcome:
    """Run a step to its end. Never raises: any exception is the outcome's error, one that is no DaccError a provider's bug."""
    failpoint(f"step.{order.step.kind}.before")
    runner = StepRunner(order, environment, cancel, report)
    try:
        outcome = runner.run()
    except DaccError as error:
        outcome = StepOutcome(error=error, mover_left=order.step.kind.startswith("stage"))
    except Exception as error:
        log.exception("step raised", extra={"session": order.session.token, "step": order.step.kind})
        provider = order.session.volume.provider if order.session.volume else "of a buffer"
        bug = ProviderBug(provider=provider, where=order.step.kind, why=f"{type(error).__name__}: {error}")
        outcome = StepOutcome(error=bug, mover_left=True)
    failpoint(f"step.{order.step.kind}.after")
    return replace(_cleaned(outcome), unsure=runner.hosts.unsure)


def _cleaned(outcome: StepOutcome) -> StepOutcome:
    """With texts that any record, log and terminal can take: hosts, users and providers wrote them."""
    for error in filter(None, (outcome.error, *outcome.hosts.values())):
        error.args = (clean_text(str(error), MAX_ERROR),)
    return outcome


class StepRunner:
    """One run of one step: it calls the provider and the mover, and makes their answers an outcome."""

    def __init__(self, order: StepOrder, environment: StepEnvironment, cancel: sdk.CancelToken, report: Callable[[Progress], None]) -> None:
        self.step, self.session, self.status = order.step, order.session, order.status
        self.environment = environment
        self.hosts = environment.runner.fenced(self.session.key, self.status.generation, cancel)
        self.progress = self.status.progress
        self._report = report
        self.context = sdk.Context(
            hosts=Without(self.hosts, self.session.lost) if self.session.lost else self.hosts,
            deadline=sdk.Deadline.after(self.step.seconds),
            cancel=cancel,
            generation=self.status.generation,
            token=self.session.token,
            log=logging.getLogger("dacc.provider"),
            progress=self._on_progress,
        )

    def _on_progress(self, progress: Progress) -> None:
        """Pass on what a record can hold, and remember it: a try that fails may be over before the record has it."""
        try:
            self.progress = msgspec.json.decode(msgspec.json.encode(progress), type=Progress)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
            log.warning("progress that no record could hold is dropped", extra={"why": clean_text(repr(progress))})
        else:
            self._report(self.progress)

    def run(self) -> StepOutcome:
        """Run it. Raises DaccError, and whatever a provider raises."""
        steps: dict[str, Callable[[], StepOutcome]] = {
            "create": self.create,
            "restore": self.restore,
            "delete": self.delete,
            "mount": self.mount,
            "unmount": self.unmount,
            "stage_in": lambda: self.stage("in"),
            "stage_out": lambda: self.stage("out"),
            "unmount_mover": self.unmount_mover,
            "evict": self.evict,
        }
        return steps[self.step.kind]()

    def _provider(self, volume: Volume) -> sdk.Provider:
        return self.environment.providers(volume.provider)

    # --- the filesystem ---

    def create(self) -> StepOutcome:
        volume, request = self._volume(), self.session.request
        provider = self._provider(volume)
        if request.swap and not provider.capabilities.swap:
            raise Unsupported(why=f"provider {volume.provider} of pool {volume.pool} cannot serve swap files: leave out #DW swap")
        created = provider.create(
            sdk.Create(context=self.context, volume=volume, owner=request.owner, group=request.group, mode=request.mode)
        )
        state = dict(created.state)
        size = len(msgspec.json.encode(state))
        if size > sdk.MAX_STATE_BYTES:
            raise TooLarge(what=f"state of provider {volume.provider}", size=size, limit=sdk.MAX_STATE_BYTES, hint="store less")
        return StepOutcome(state=state, capacity=_checked_capacity(created.capacity, volume))

    def restore(self) -> StepOutcome:
        """Have the filesystem served again by hosts that were booted. A provider that cannot has nothing that a boot ends."""
        volume = self._volume()
        provider = self._provider(volume)
        if isinstance(provider, sdk.RestoreProvider):
            provider.restore(sdk.VolumeRequest(context=self.context, volume=volume, state=self.status.provider_state))
        return StepOutcome()

    def delete(self) -> StepOutcome:
        volume = self._volume()
        request = sdk.Delete(context=self.context, volume=volume, state=self.status.provider_state, gone=self.session.lost)
        self._provider(volume).delete(request)
        return StepOutcome()

    def _volume(self) -> Volume:
        if self.session.volume is None:
            raise NoSuchProvider(name="")
        return self.session.volume

    # --- compute nodes ---

    def mount(self) -> StepOutcome:
        self._require_buffers()
        hosts = expand(self.step.targets)
        results: dict[str, DaccError | None] = dict.fromkeys(hosts)
        for mounted in self._volumes():
            _merge(results, self._mount(mounted, _well(results)))
        if self.session.request.swap and self.session.volume:
            _merge(results, self._swap(_well(results), on=True))
        return _per_host(results, "mount", self.session)

    def unmount(self) -> StepOutcome:
        hosts = expand(self.step.targets)
        results: dict[str, DaccError | None] = dict.fromkeys(hosts)
        if self.session.request.swap and self.session.volume:
            _merge(results, self._swap(hosts, on=False))
        for mounted in self._volumes():
            _merge(results, self._unmount(mounted, _well(results)))
        return _per_host(results, "unmount", self.session, tolerate_gone=True)

    def evict(self) -> StepOutcome:
        """Take a persistent volume off the nodes of jobs that still have it (a destroy in a hurry)."""
        volume, name = self._volume(), self.session.token
        results: dict[str, DaccError | None] = {}
        for eviction in self.session.goal.evict:
            path = paths.persistent_path(self.environment.mount_root, eviction.token, name)
            mounted = UsedVolume(self.session, volume, self.status.provider_state, path, "", own=False)
            _merge(results, self._unmount(mounted, expand(eviction.hosts)))
        return _per_host(results, "unmount", self.session, tolerate_gone=True)

    def _require_buffers(self) -> None:
        """A job never runs or copies without a buffer that it uses: it may have been destroyed in a hurry a moment ago."""
        there = {buffer.token for buffer, _ in self.step.buffers}
        for name in self.session.request.persistent:
            if name not in there:
                raise NoSuchBuffer(name=name)

    def _volumes(self) -> list[UsedVolume]:
        root, token, used = self.environment.mount_root, self.session.mounted_as, list[UsedVolume]()
        if self.session.volume is not None:
            path = paths.job_path(root, token)
            used.append(UsedVolume(self.session, self.session.volume, self.status.provider_state, path, "DW_JOB_STRIPED", own=True))
        for buffer, status in self.step.buffers:
            if buffer.volume is not None:
                path, name = paths.persistent_path(root, token, buffer.token), paths.persistent_variable(buffer.token)
                used.append(UsedVolume(buffer, buffer.volume, status.provider_state, path, name, own=False))
        return used

    def _mount(self, mounted: UsedVolume, hosts: tuple[str, ...]) -> Mapping[str, DaccError | None]:
        if not hosts:
            return {}
        request = mounted.owner.request
        private = mounted.own and request.private
        result = self._provider(mounted.volume).mount(
            sdk.Mount(
                context=self.context,
                volume=mounted.volume,
                state=mounted.state,
                hosts=hosts,
                path=mounted.path,
                owner=request.owner,
                group=request.group,
                mode=request.mode,
                private=private,
                link=paths.private_link(self.environment.mount_root, self.session.mounted_as) if private else "",
            )
        )
        return _complete(result, hosts, mounted.volume.provider, "mount")

    def _unmount(self, mounted: UsedVolume, hosts: tuple[str, ...]) -> Mapping[str, DaccError | None]:
        if not hosts:
            return {}
        private = mounted.own and mounted.owner.request.private
        link = paths.private_link(self.environment.mount_root, self.session.mounted_as) if private else ""
        result = self._provider(mounted.volume).unmount(
            sdk.Unmount(context=self.context, volume=mounted.volume, state=mounted.state, hosts=hosts, path=mounted.path, link=link)
        )
        return _complete(result, hosts, mounted.volume.provider, "unmount")

    def _swap(self, hosts: tuple[str, ...], *, on: bool) -> Mapping[str, DaccError | None]:
        volume = self._volume()
        provider = self._provider(volume)
        if not isinstance(provider, sdk.SwapProvider) or not hosts:
            return {}
        request = sdk.Swap(
            context=self.context,
            volume=volume,
            state=self.status.provider_state,
            hosts=hosts,
            path=paths.job_path(self.environment.mount_root, self.session.mounted_as),
            size=self.session.request.swap,
        )
        result = provider.swap_on(request) if on else provider.swap_off(request)
        return _complete(result, hosts, volume.provider, "swap_on" if on else "swap_off")

    # --- staging ---

    def stage(self, direction: str) -> StepOutcome:
        requests, gone = self._requests(direction)
        if gone and not requests:
            raise gone
        host, volumes = self.step.mover, self._volumes()
        for mounted in volumes:
            self._mount_mover(mounted, host, read_only=direction == "out")
        failpoint(f"stage_{direction}.mounted")
        error: DaccError | None = gone  # what else is owed is delivered all the same
        try:
            report = self._copy(direction, requests, host, volumes)
            self.progress = Progress(files=report.files, bytes=report.bytes, total_files=report.files, total_bytes=report.bytes)
        except DaccError as failure:
            error = failure
        failpoint(f"stage_{direction}.copied")
        return StepOutcome(error=error, progress=self.progress, mover_left=self._unmount_all(volumes, host) is not None)

    def _requests(self, direction: str) -> tuple[tuple[StageRequest, ...], NoSuchBuffer | None]:
        """What is to be copied, and the error for what cannot be: its buffer was destroyed, or may have been."""
        if direction == "in":
            self._require_buffers()
            return self.session.request.stage_in, None
        there = {buffer.token for buffer, _ in self.step.buffers}
        gone = {name: paths.persistent_variable(name) for name in self.session.request.persistent if name not in there}
        lost = [name for name, variable in gone.items() for request in self.session.request.stage_out if _may_be_in(request, variable)]
        left = tuple(each for each in self.session.request.stage_out if not any(_may_be_in(each, variable) for variable in gone.values()))
        return left, NoSuchBuffer(name=lost[0]) if lost else None

    def _mount_mover(self, mounted: UsedVolume, host: str, *, read_only: bool) -> None:
        request = mounted.owner.request
        result = self._provider(mounted.volume).mount(
            sdk.Mount(
                context=self.context,
                volume=mounted.volume,
                state=mounted.state,
                hosts=(host,),
                path=self._mover_path(mounted),
                role="mover",
                read_only=read_only,
                owner=request.owner,
                group=request.group,
                mode=request.mode,
            )
        )
        _raise_first(_complete(result, (host,), mounted.volume.provider, "mount"))

    def _mover_path(self, mounted: UsedVolume) -> str:
        # By the session that copies: two jobs may stage through one persistent buffer at once.
        return paths.mover_path(self.environment.mover_root, f"{self.session.key}-{mounted.volume.name}")

    def _copy(self, direction: str, requests: tuple[StageRequest, ...], host: str, volumes: list[UsedVolume]) -> CopyReport:
        request = self.session.request
        own = self.session.volume
        enforced = own is None or self._provider(own).capabilities.capacity_enforced
        order = CopyOrder(
            context=self.context,
            host=host,
            uid=request.owner,
            gid=request.group,
            requests=requests,
            roots={used.variable: Root(self._mover_path(used), paths.GLOBAL, used.owner.request.owner) for used in volumes},
            direction="in" if direction == "in" else "out",
            limit=0 if enforced or own is None else own.capacity,
            resumed=self.status.progress.cleared,
        )
        return self.environment.mover.copy(order)

    def unmount_mover(self) -> StepOutcome:
        return StepOutcome(error=self._unmount_all(self._volumes(), self.step.mover))

    def _unmount_all(self, volumes: list[UsedVolume], host: str) -> DaccError | None:
        for mounted in volumes:
            result = self._provider(mounted.volume).unmount(
                sdk.Unmount(
                    context=self.context,
                    volume=mounted.volume,
                    state=mounted.state,
                    hosts=(host,),
                    path=self._mover_path(mounted),
                    role="mover",
                )
            )
            failed = [error for error in _complete(result, (host,), mounted.volume.provider, "unmount").values() if error]
            if failed:
                return failed[0]
        return None


def _checked_capacity(capacity: int, volume: Volume) -> int:
    """What a provider says that fits, as a record can hold it. Raises ProviderBug."""
    if not isinstance(capacity, int) or not 0 <= capacity < 1 << 63:
        raise ProviderBug(provider=volume.provider, where="create", why="the capacity that it returned is not a number of bytes")
    return capacity


def _may_be_in(request: StageRequest, variable: str) -> bool:
    """Whether a stage-out copies from the buffer of a variable; the lines of a list may."""
    return request.kind == "list" or request.source.partition("/")[0].strip("${}") == variable


def _complete(result: sdk.PerHost, hosts: tuple[str, ...], provider: str, where: str) -> Mapping[str, DaccError | None]:
    """The provider's answer for the hosts that it was asked for, if it names every one."""
    missing = [host for host in hosts if host not in result.hosts]
    if missing:
        raise ProviderBug(provider=provider, where=where, why=f"its answer lacks {missing[0]}")
    wrong = [host for host in hosts if not isinstance(result.hosts[host], DaccError | None)]
    if wrong:
        raise ProviderBug(provider=provider, where=where, why=f"its answer for {wrong[0]} is neither None nor an error of the SDK")
    return {host: result.hosts[host] for host in hosts}


def _merge(results: dict[str, DaccError | None], more: Mapping[str, DaccError | None]) -> None:
    for host, error in more.items():
        results[host] = results.get(host) or error


def _well(results: Mapping[str, DaccError | None]) -> tuple[str, ...]:
    return tuple(host for host, error in results.items() if error is None)


def _raise_first(results: Mapping[str, DaccError | None]) -> None:
    for error in results.values():
        if error is not None:
            raise error


def _per_host(results: Mapping[str, DaccError | None], what: str, session: Session, *, tolerate_gone: bool = False) -> StepOutcome:
    bad = {host: error for host, error in results.items() if error is not None and not (tolerate_gone and is_gone(error))}
    if not bad:
        return StepOutcome(hosts=results)
    host, error = sorted(bad.items())[0]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    failed = StepFailed(step=f"{what} on {host}{more}", token=session.token, why=str(error))
    failed.retryable = all(cause.retryable for cause in bad.values())
    return StepOutcome(hosts=results, error=failed)
