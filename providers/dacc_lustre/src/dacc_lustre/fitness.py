"""Whether a host is fit to serve: facts of the helper's ``check`` judged, with what mends each problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dacc_core.sdk import Context, DaccError, NodeResult

from . import lnet, remote
from .probe import HostFacts, check_health, check_slice, facts_of
from .reports import FitnessReport
from .settings import LustreSettings
from .targets import Kind, LustreTarget

OLDEST = (2, 15)
KINDS: tuple[Kind, ...] = ("mdt", "ost")
# Lustre's own choice for Omni-Path since 2.12 (lustre/conf/ko2iblnd.conf, alias ko2iblnd-opa).
OMNI_PATH = {"peer_credits": 32, "peer_credits_hiw": 16, "credits": 1024, "concurrent_sends": 64, "ntx": 2048, "map_on_demand": 256}


@dataclass(frozen=True, slots=True)
class FitnessFinding:
    """What is wrong with a host, or a version that it has."""

    host: str
    level: Literal["error", "warning", "info"]
    text: str


def look(context: Context, settings: LustreSettings, devices: Mapping[str, Sequence[str]]) -> list[FitnessFinding]:
    """Ask hosts and judge; a host that does not answer is a finding too."""
    jobs = {host: {"disks": list(disks), "names": lnet.names_of(settings.nids, host)} for host, disks in devices.items()}
    common = {"mgs_device": settings.mgs_device, "backend": settings.backend}
    answers = remote.ask(context, settings, "check", list(jobs), FitnessReport, common, jobs, seconds=settings.probe_seconds)
    findings = [finding for host, report in answers.hosts.items() for finding in judge(host, report, devices[host], settings)]
    fit = {host: facts_of(host, report) for host, report in answers.succeeded.items()}
    return [*findings, *(_nodemap(context, settings, fit) if settings.nodemap else ())]


def _nodemap(context: Context, settings: LustreSettings, facts: Mapping[str, HostFacts]) -> Iterator[FitnessFinding]:
    """What each MGS that runs says of the NIDs of all hosts that were looked at."""
    nids = [nid for one in facts.values() for nid in lnet.used(one.nids, settings)]
    running = [host for host, one in facts.items() if one.mgt and one.mgt.mounted]
    if facts and not running:
        yield FitnessFinding(", ".join(facts), "warning", f"no MGS runs there: the nodemap {settings.nodemap} was not looked at")
    common = {"nodemap": settings.nodemap, "nids": nids}
    answers = remote.ask(context, settings, "nodemap", running, NodeResult, common, seconds=settings.probe_seconds)
    for host, error in answers.outcome().failed.items():
        yield FitnessFinding(host, "error", str(error).removeprefix(f"host {host}: "))


def judge(host: str, report: FitnessReport | DaccError, devices: Sequence[str], settings: LustreSettings) -> Iterator[FitnessFinding]:
    """The findings of one host."""
    if isinstance(report, DaccError):
        yield FitnessFinding(host, "error", str(report).removeprefix(f"host {host}: "))
        return
    facts = facts_of(host, report)
    for text in report.errors:
        yield FitnessFinding(host, "error", text)
    yield from _errors(facts, devices, settings, bool(report.errors))
    yield from _version(host, report.version)
    if report.omni_path:
        yield from _tuning(host, report.tuning)


def _errors(facts: HostFacts, devices: Sequence[str], settings: LustreSettings, broken: bool) -> Iterator[FitnessFinding]:
    host = facts.host
    checks: list[Any] = [lambda: check_health(facts)]
    checks += [] if broken else [lambda: lnet.host_nids(facts, settings)]
    targets = [LustreTarget(kind, 0, host, device) for device in devices for kind in KINDS]
    checks += [lambda one=one: check_slice(facts, one) for one in targets]
    for check in checks:
        try:
            check()
        except DaccError as error:
            yield FitnessFinding(host, "error", str(error).removeprefix(f"host {host}: "))
    if devices and settings.mgs_host in ("", host) and (facts.mgt is None or facts.mgt.label != "MGS"):
        yield FitnessFinding(host, "error", f"there is no formatted MGT: run dacc lustre prepare {host}")


def _version(host: str, text: str) -> Iterator[FitnessFinding]:
    words = text.replace("lustre:", "").split()
    numbers = tuple(int(part) for part in words[0].split(".")[:2] if part.isdigit()) if words else ()
    if not numbers:
        yield FitnessFinding(host, "warning", "lctl get_param version says nothing: is the lustre module loaded?")
    elif numbers < OLDEST:
        yield FitnessFinding(host, "warning", f"Lustre {words[0]} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest that works: upgrade it")
    else:
        yield FitnessFinding(host, "info", f"Lustre {words[0]}")


def _tuning(host: str, tuning: Mapping[str, str]) -> Iterator[FitnessFinding]:
    if not tuning:
        yield FitnessFinding(host, "warning", "there is Omni-Path and ko2iblnd is not loaded: lnetctl net add --net o2ib1 --if ib0")
    for name, wanted in OMNI_PATH.items():
        if tuning.get(name, "").lstrip("-").isdigit() and int(tuning[name]) < wanted:
            text = f"ko2iblnd {name}={tuning[name]} is below {wanted}, Lustre's choice for Omni-Path: see /etc/modprobe.d/ko2iblnd.conf"
            yield FitnessFinding(host, "warning", text)
