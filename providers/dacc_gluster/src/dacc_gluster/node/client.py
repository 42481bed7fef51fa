"""On compute nodes, and on the host that copies: mount and unmount volumes."""

import os
import sys
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from .common import EXISTS, Failure, end_clients, main, mount_client, mounted_at, remove_directory, umount
    from .planted import above, make_point, make_private, put_link, take_link


def mount(what: Dict[str, Any]) -> None:
    path = os.path.join(above(what["path"], what["role"] == "mover"), os.path.basename(what["path"]))
    if not mounted_at(path):  # the client of a mount may have died, and then one cannot even look there
        make_point(path)
    mount_client(what["volume"], what["servers"], path, what["read_only"])
    if what["private"]:
        found = mounted_at(path)
        if not what["read_only"]:
            make_private(path, found.device if found else "", what)
        put_link(what["link"], private_of(what))


def private_of(what: Dict[str, Any]) -> str:
    """Where the link leads."""
    return "{0}/private/{1}".format(what["path"], what["host"])


def unmount(what: Dict[str, Any]) -> None:
    path = what["path"]
    found = mounted_at(path)
    if found and not found.source.endswith(":/" + what["volume"]):
        raise Failure(EXISTS, "{0} is a mount of {1}, not of volume {2}".format(path, found.source, what["volume"]))
    umount(path)
    end_clients(path)
    remove_directory(path)
    take_link(what["link"], private_of(what))


if __name__ == "__main__":
    sys.exit(main({"mount": mount, "unmount": unmount}))
