"""The site's nodemap on the MGS of this host: looked at and never changed."""

from typing import Dict, Iterator, List

from dacc_core.sdk.node.kit import Job, NodeError, must, verb

from .argv import look_up_nid
from .common import parameter

MOST_LISTED = 8


@verb("nodemap")
def nodemap(job: Job) -> None:
    """See that the nodemap keeps strangers out and lets these hosts in. Raises Unavailable with all that is to be mended."""
    problems = list(_problems(job["nodemap"], job["nids"]))
    if problems:
        raise NodeError("Unavailable", "; ".join(problems))


def _problems(name: str, nids: List[str]) -> Iterator[str]:
    if parameter("nodemap.active") != ["1"]:
        yield "nodemaps are not active on the MGS here: lctl nodemap_activate 1"
    if "1" not in parameter("nodemap.default.deny_unknown") + parameter("nodemap.default.deny_mount"):
        yield "the nodemap default lets strangers in: lctl nodemap_modify --name default --property deny_unknown --value 1"
    for key in ("trusted", "admin"):
        found = parameter("nodemap.{}.{}_nodemap".format(name, key))
        if not found:
            yield "the MGS here has no nodemap {}: lctl nodemap_add {}".format(name, name)
            return
        if found != ["1"]:
            yield "the nodemap {} is not {}: lctl nodemap_modify --name {} --property {} --value 1".format(name, key, name, key)
    outside = _outside(name, nids)
    if outside:
        listed = ", ".join("{} (in {})".format(nid, other) for nid, other in sorted(outside.items())[:MOST_LISTED])
        more = " and {} more".format(len(outside) - MOST_LISTED) if len(outside) > MOST_LISTED else ""
        yield "the nodemap {} lacks {}{}: lctl nodemap_add_range --name {} --range NIDS".format(name, listed, more, name)


def _outside(name: str, nids: List[str]) -> Dict[str, str]:
    """By NID, the other nodemap that it is in."""
    found = {nid: must(nid, *look_up_nid(nid)).strip() for nid in nids}
    return {nid: other for nid, other in found.items() if other != name}
