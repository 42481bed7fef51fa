"""``keys.md``, from the records of the store."""

from __future__ import annotations

from typing import Any

import msgspec

from dacc_core.registry import records
from dacc_core.registry.keys import KINDS, PREFIX

from . import markdown as md

INTRO = f"""
    dacc keeps its state in a keystore: keys with JSON values, all below `{PREFIX}`, in which 1 is the version of the schema. This page is
    for who looks into a store or writes a tool; **only dacc may write there**. Use `dacc status --json` and `dacc show --json` where
    they are enough.

    Times are seconds since the epoch, sizes are bytes, sets of hosts are folded (`c[1-64]`). A field with its default value is not
    written. Each change is a transaction that compares what it read, so no two programs overwrite each other.

    With SQLite the store is one file, the setting `keystore.path`. Its directory must be on a local filesystem.
"""
PARTS = "## Records inside records"
WHERE = {
    "counters": "the daemons",
    "cluster": "the first daemon, once; `dacc restore`",
    "pools": "the first brick host of the pool",
    "hosts": "the host's daemon; `dacc forget` deletes it",
    "alive": "the host's daemon, on a lease of `lease_ttl` seconds",
    "allocations": "claims, endings of sessions, `dacc drain`, `dacc forget` and `dacc release`",
    "sessions": "the calls of Slurm and of operators; its coordinator when it ends",
    "status": "the session's coordinator only",
    "usage": "the daemon of the session's coordinator",
    "attachments": "set-up and ending of the job; a destroy in a hurry",
    "history": "the session's coordinator",
}
"""Who writes each kind of key."""
NAMES = {
    "pools": "/<pool>",
    "hosts": "/<host>",
    "alive": "/<host>",
    "allocations": "/<host>",
    "sessions": "/<token>",
    "status": "/<token>",
    "usage": "/<token>",
    "attachments": "/<persistent>/<token>",
    "history": "/<token>",
}


def page() -> str:
    """The page."""
    rows = [(f"[`{_key(kind)}`](#{kind})", f"`{cls.__name__}`", WHERE[kind]) for kind, cls in KINDS.items()]
    overview = md.table(("key", "record", "written by"), rows)
    kinds = [_record(f"## {kind}", cls) for kind, cls in KINDS.items()]
    inner = [_record(f"### {cls.__name__}", cls) for cls in _inner()]
    return md.page("Keys of the store", "dacc_core/records.py and dacc_core/registry/keys.py", INTRO, overview, *kinds, PARTS, *inner)


def _key(kind: str) -> str:
    return kind + NAMES.get(kind, "")


def _inner() -> list[type[records.Record]]:
    stored = set(KINDS.values()) | {records.Record}
    found = [thing for thing in vars(records).values() if isinstance(thing, type) and issubclass(thing, records.Record)]
    return [cls for cls in found if cls not in stored]


def _record(heading: str, cls: type[records.Record]) -> str:
    rows = [(f"`{field.name}`", _type(field.type), _default(field)) for field in msgspec.structs.fields(cls)]
    return f"{heading}\n\n{md.doc(cls)}\n\n" + md.table(("field", "type", "default"), rows)


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not getattr(hint, "__args__", ()) else str(hint)
    text = text.replace("dacc_core.registry.records.", "").replace("typing.", "").replace("NoneType", "None")
    return f"`{text}`"


def _default(field: Any) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "`{}`"
    if field.default is msgspec.NODEFAULT:
        return "*required*"
    if isinstance(field.default, records.Record):
        return "its defaults"
    return {(): "`[]`", "": "empty"}.get(field.default, f"`{msgspec.json.encode(field.default).decode()}`")
