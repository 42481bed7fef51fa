"""Front ends by name: what lets the daemon speak to a workload manager."""

from __future__ import annotations

from typing import Any

from ..errors import BadConfig
from . import discovery
from .discovery import CannotLoad


def load_frontend(name: str) -> Any:
    """The module or object of the front end that the setting ``frontends`` names. Raises BadConfig."""
    offers = discovery.find(discovery.FRONTENDS, name)
    if not offers:
        known = ", ".join(dict.fromkeys(each.name for each in discovery.find(discovery.FRONTENDS))) or "none"
        raise BadConfig(problems=f"frontends: front end {name!r} is not installed: installed are {known}")
    try:
        if len(offers) > 1:
            raise discovery.duplicate(offers[0], offers[1:])
        return offers[0].load()
    except CannotLoad as problem:
        one = offers[0]
        where = f"entry point `{one.text}` of {one.package} {one.version}"
        raise BadConfig(problems=f"frontends: front end {name} cannot load: {where}: {problem.why}; {problem.fix}") from problem
