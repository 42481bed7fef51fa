"""The files for a site, from the templates of this package."""

from __future__ import annotations

import shlex
import string
from dataclasses import dataclass
from importlib import resources

from dacc_core.errors import BadConfig, ProviderLoadError, WrongCluster

from .site import SlurmSite

NO_RESTART = (BadConfig, WrongCluster, ProviderLoadError)
"""How dacd ends when only a person can help."""

ENVIRONMENT = """
# slurmctld must also be told where dacc is, as it is not in the usual place: with `systemctl edit slurmctld`,
#   [Service]
#   Environment={variables}"""

FILES = {
    "burst_buffer.conf": ("burst_buffer.conf", "put it next to slurm.conf on the controller, then `scontrol reconfigure`"),
    "slurm.conf.fragment": ("slurm.conf.fragment", "merge it into slurm.conf on all machines, then restart slurmctld and the slurmds"),
    "prolog.d/50-dacc": ("prolog", "must be there under this name on every compute node, executable, before slurm.conf names it"),
    "epilog.d/50-dacc": ("epilog", "must be there under this name on every compute node, executable, before slurm.conf names it"),
    "systemd/dacd-controller.service": (
        "dacd-controller.service",
        "copy it into /etc/systemd/system on the controller, then `systemctl daemon-reload; systemctl enable --now dacd-controller`",
    ),
    "systemd/dacd.service": (
        "dacd.service",
        "copy it into /etc/systemd/system on each brick host, then `systemctl daemon-reload; systemctl enable --now dacd`",
    ),
}
"""Each file's template, and what is to be done with it."""


class Template(string.Template):
    """``@@{name}``: what stands in shell scripts and configurations otherwise needs no escapes."""

    delimiter = "@@"


@dataclass(frozen=True, slots=True)
class File:
    """A file by its name below the directory. ``then`` says what is to be done with it."""

    name: str
    text: str
    mode: int
    then: str


def make_files(site: SlurmSite) -> list[File]:
    """Every file for a site."""
    values = _values(site)
    return [_file(name, template, then, values) for name, (template, then) in FILES.items()]


def _file(name: str, template: str, then: str, values: dict[str, str]) -> File:
    text = fill(template, values | {"script": template})
    return File(name, text, 0o755 if text.startswith("#!") else 0o644, then)


def fill(template: str, values: dict[str, str]) -> str:
    """A template with its holes filled, those of the templates that it includes too."""
    parts = {part: fill(file, values) for part, file in INCLUDED.items() if f"@@{{{part}}}" in _read(template)}
    return Template(_read(template)).substitute(values | parts)


INCLUDED = {"shared": "shared.sh", "unit": "unit", "service": "service"}


def _read(template: str) -> str:
    return resources.files(__package__).joinpath("templates", template).read_text("utf-8")


def _values(site: SlurmSite) -> dict[str, str]:
    options = f" --config {site.config}" if site.config else ""
    return {
        **site.programs,
        "dacd": site.programs["dacd"] + options,
        **{name: str(seconds) for name, seconds in site.timeouts.items()},
        "default_pool": site.default_pool,
        "slurm_user": site.slurm_user,
        "mount_root": shlex.quote(site.mount_root),
        "directory": site.directory,
        "environment": _environment(site),
        "no_restart": " ".join(str(error.exit_code) for error in NO_RESTART),
    }


def _environment(site: SlurmSite) -> str:
    """What slurmctld must hand on to fakewarp."""
    variables = {"DACC_CONFIG": site.config, "DACC_SOCKET": site.socket}
    text = " ".join(f"{name}={value}" for name, value in variables.items() if value)
    return ENVIRONMENT.format(variables=text) if text else ""
