"""Looking users up in the passwd and group databases (which may ask LDAP: never in the core's thread)."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd

from .operations import User


def find_user(uid: int = -1, name: str = "") -> User | None:
    """A user by name, else by uid; ``None`` when there is none."""
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return User(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name, groups=groups, group_names=frozenset(map(_group, groups)))


def _group(gid: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
