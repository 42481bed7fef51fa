"""Where a session's volumes are mounted and which variables tell the job (as data-acc; the root is configurable)."""

from __future__ import annotations

from ..names import env_name
from ..registry.records import Session

GLOBAL = "global"
"""The directory at a volume's root that all nodes share; it belongs to the user."""


def job_path(root: str, token: str) -> str:
    """Mount point of a job's own volume."""
    return f"{root}/{token}_job"


def private_link(root: str, token: str) -> str:
    """Symbolic link to the node's own directory in the job's volume."""
    return f"{root}/{token}_job_private"


def persistent_path(root: str, token: str, name: str) -> str:
    """Mount point, at a path of the job, of a persistent volume that it uses."""
    return f"{root}/{token}_persistent_{name}"


def mover_path(root: str, volume: str) -> str:
    """Mount point of a volume on the mover host."""
    return f"{root}/{volume}"


def persistent_variable(name: str) -> str:
    """The variable that names a persistent buffer's directory."""
    return f"DW_PERSISTENT_STRIPED_{env_name(name)}"


def environment(session: Session, root: str) -> dict[str, str]:
    """The variables that a job of this session gets."""
    request, variables = session.request, {}
    if session.volume is not None and request.striped:
        variables["DW_JOB_STRIPED"] = f"{job_path(root, session.token)}/{GLOBAL}"
    if session.volume is not None and request.private:
        variables["DW_JOB_PRIVATE"] = private_link(root, session.token)
    for name in request.persistent:
        variables[persistent_variable(name)] = f"{persistent_path(root, session.token, name)}/{GLOBAL}"
    return variables
