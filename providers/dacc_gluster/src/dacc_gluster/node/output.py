"""What the program ``gluster`` prints, understood. Nothing here runs anything."""

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, NamedTuple, Tuple, Union

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LOCKED = ("Another transaction is in progress", "Another transaction could be in progress", "Locking failed", "Unable to acquire lock")
DOWN = ("peers are down", "peer is down", "is not connected")


class KnownVolume(NamedTuple):
    """A volume as gluster knows it; ``bricks`` as ``ADDRESS:PATH``."""

    name: str
    started: bool
    bricks: Tuple[str, ...]
    options: Dict[str, str]


def problem(answer: Union[bytes, str]) -> str:
    """Why a command failed, of an answer in XML; empty when it did not."""
    root = _tree(answer)
    return "" if root.findtext("opRet") == "0" else root.findtext("opErrstr") or "gluster does not say why"


def volumes(answer: Union[bytes, str]) -> List[KnownVolume]:
    """Of ``gluster --xml volume info``; none when the volume does not exist."""
    return [_known(volume) for volume in _tree(answer).iterfind("volInfo/volumes/volume")]


def online(answer: Union[bytes, str]) -> FrozenSet[str]:
    """The bricks that are served, of ``gluster --xml volume status``, as ``ADDRESS:PATH``."""
    nodes = _tree(answer).iterfind("volStatus/volumes/volume/node")
    return frozenset("{0}:{1}".format(node.findtext("hostname"), node.findtext("path")) for node in nodes if node.findtext("status") == "1")


def peers(answer: str) -> Dict[str, Any]:
    """The trusted pool as one host sees it, by ids: its ``own``, all ``known`` ones and those it is ``connected`` to, its own included.

    Of ``gluster pool list``: lines of id, name and state, the host itself being ``localhost``. Raises ``ValueError`` for other lines.
    """
    rows = [line.split() for line in answer.splitlines()[1:]]
    own = next((row[0] for row in rows if row[1:2] == ["localhost"]), "")
    if not own or any(len(row) < 3 for row in rows):
        raise ValueError("no list of a pool that the host is in")
    return {"own": own, "known": [row[0] for row in rows], "connected": [row[0] for row in rows if row[-1] == "Connected"]}


def is_locked(why: str) -> bool:
    """Whether gluster does something else with the volume, or with all."""
    return any(words in why for words in LOCKED)


def is_down(why: str) -> bool:
    """Whether it failed because a host of the pool is away."""
    return any(words in why for words in DOWN)


def _known(volume: "Element") -> KnownVolume:
    options = {option.findtext("name", ""): option.findtext("value", "") for option in volume.iterfind("options/option")}
    bricks = tuple(brick.findtext("name", "") for brick in volume.iterfind("bricks/brick"))
    return KnownVolume(volume.findtext("name", ""), volume.findtext("statusStr") == "Started", bricks, options)


def _tree(answer: Union[bytes, str]) -> "Element":
    from xml.etree import ElementTree  # late: most actions ask gluster nothing

    try:
        return ElementTree.fromstring(answer)  # noqa: S314 - of glusterd, which runs as root
    except ElementTree.ParseError:
        return ElementTree.Element("nothing")
