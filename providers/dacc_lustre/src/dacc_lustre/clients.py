"""The clients' side: mount, unmount and swap on compute nodes and movers, all hosts at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from dacc_core.sdk import (
    DaccError,
    HostUnreachable,
    InvalidRequest,
    Mount,
    NodeResult,
    NotFound,
    PerHost,
    Swap,
    Unmount,
    VolumeRequest,
)

from . import lnet, remote
from .settings import LustreSettings
from .targets import check_hosts
from .volumes import Servers


def checked_path(path: str, what: str) -> str:
    """The path, if it is absolute and plain. Raises InvalidRequest."""
    if not path.startswith("/") or str(PurePosixPath(path)) != path or ".." in PurePosixPath(path).parts or path == "/" or "\0" in path:
        raise InvalidRequest(why=f"{what} {path!r}: give an absolute path without dots or slashes at its end")
    return path


def checked_state(request: VolumeRequest) -> Mapping[str, Any]:
    """The state, if create has returned one. Raises NotFound."""
    if "mgs" not in request.state:
        raise NotFound(why=f"volume {request.volume.name} was never created: nothing is known of its MGS")
    return request.state


def mount(request: Mount, settings: LustreSettings) -> PerHost:
    """Mount on each host."""
    state = checked_state(request)
    if request.private and settings.root_squash:
        servers = Servers(request.context, request.volume, settings, state)
        servers.at_primary("private", NodeResult, {"names": list(request.hosts), **_owner(request)}, state)
    job = {
        **_paths(request),
        **_owner(request),
        "source": lnet.source(state["mgs"], request.volume.name),
        "ping": state["mgs"],
        "options": list(lnet.mount_options(settings)),
        "read_only": request.read_only,
        "private": request.private,
        "squashed": bool(settings.root_squash),
        "mount_seconds": settings.mount_seconds,
    }
    seconds = settings.mount_seconds * settings.mount_tries + 30.0
    return _on_hosts(request, settings, "mount", job, seconds, tries=settings.mount_tries)


def unmount(request: Unmount, settings: LustreSettings) -> PerHost:
    """Unmount on each host. The targets drop clients on hosts that cannot be reached, so that they hold nobody up."""
    job = {**_paths(request), "unmount_seconds": settings.unmount_seconds, "lazy": True}
    done = _on_hosts(request, settings, "unmount", job, 4 * settings.unmount_seconds + 30.0)
    dead = [host for host, error in done.failed.items() if isinstance(error, HostUnreachable)]
    if not dead:
        return done
    evicted = Servers(request.context, request.volume, settings, request.state).evict(dead, request.state)
    said = f"its Lustre client was evicted ({', '.join(evicted)})" if evicted else "no target knew its Lustre client"
    more: dict[str, DaccError | None] = {host: _with(done.failed[host], said) for host in dead}
    return PerHost(hosts={**done.hosts, **more})


def swap(verb: str, request: Swap, settings: LustreSettings) -> PerHost:
    """``swap-on`` or ``swap-off`` on each host."""
    if request.size <= 0:
        raise InvalidRequest(why=f"swap of {request.size} bytes on volume {request.volume.name}: give a size above 0")
    job = {"path": checked_path(request.path, "mount path"), "size": request.size}
    return _on_hosts(request, settings, verb, job, request.context.deadline.remaining(at_most=600.0))


def _on_hosts(
    request: Mount | Unmount | Swap, settings: LustreSettings, verb: str, job: Mapping[str, Any], seconds: float, tries: int = 1
) -> PerHost:
    check_hosts(request.hosts)
    common = {"fsname": request.volume.name, **job}
    return remote.ask(request.context, settings, verb, request.hosts, NodeResult, common, seconds=seconds, tries=tries).outcome()


def _paths(request: Mount | Unmount) -> dict[str, str]:
    link = checked_path(request.link, "link") if request.link else ""
    return {"path": checked_path(request.path, "mount path"), "link": link, "role": request.role}


def _owner(request: Mount) -> dict[str, int]:
    return {"owner": request.owner, "group": request.group, "mode": request.mode}


def _with(error: DaccError, said: str) -> DaccError:
    return type(error).from_text(f"{error}; {said}")
