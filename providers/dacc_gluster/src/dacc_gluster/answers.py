"""What the program ``gluster`` answers, understood. Nothing here runs anything."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

_LOCKED = ("Another transaction is in progress", "Another transaction could be in progress", "Locking failed", "Unable to acquire lock")
_DOWN = ("peers are down", "peer is down", "is not connected")


@dataclass(frozen=True)
class Known:
    """A volume as gluster knows it; ``bricks`` as ``ADDRESS:PATH``."""

    name: str
    started: bool
    bricks: tuple[str, ...]
    options: dict[str, str]


@dataclass(frozen=True)
class Peers:
    """The trusted pool as one host sees it, by ids: its ``own``, all ``known`` ones and those it is ``connected`` to, its own included."""

    own: str
    known: frozenset[str]
    connected: frozenset[str]


def problem(answer: bytes) -> str:
    """Why a command failed, of an answer in XML; empty when it did not."""
    root = _tree(answer)
    return "" if root.findtext("opRet") == "0" else root.findtext("opErrstr") or "gluster does not say why"


def volumes(answer: bytes) -> list[Known]:
    """Of ``gluster --xml volume info``; none when the volume does not exist."""
    return [_known(volume) for volume in _tree(answer).iterfind("volInfo/volumes/volume")]


def online(answer: bytes) -> frozenset[str]:
    """The bricks that are served, of ``gluster --xml volume status``, as ``ADDRESS:PATH``."""
    nodes = _tree(answer).iterfind("volStatus/volumes/volume/node")
    return frozenset(f"{node.findtext('hostname')}:{node.findtext('path')}" for node in nodes if node.findtext("status") == "1")


def peers(answer: bytes) -> Peers:
    """Of ``gluster pool list``: lines of id, name and state, the host itself being ``localhost``."""
    rows = [line.split() for line in answer.decode(errors="replace").splitlines()[1:]]
    own = next((row[0] for row in rows if row[1] == "localhost"), "")
    return Peers(own, frozenset(row[0] for row in rows), frozenset(row[0] for row in rows if row[-1] == "Connected"))


def is_locked(why: str) -> bool:
    """Whether gluster does something else with the volume, or with all."""
    return any(words in why for words in _LOCKED)


def is_down(why: str) -> bool:
    """Whether it failed because a host of the pool is away."""
    return any(words in why for words in _DOWN)


def _known(volume: ElementTree.Element) -> Known:
    options = {one.findtext("name", ""): one.findtext("value", "") for one in volume.iterfind("options/option")}
    bricks = tuple(brick.findtext("name", "") for brick in volume.iterfind("bricks/brick"))
    return Known(volume.findtext("name", ""), volume.findtext("statusStr") == "Started", bricks, options)


def _tree(answer: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer)  # noqa: S314 - of glusterd, which runs as root
    except ElementTree.ParseError:
        return ElementTree.Element("nothing")
