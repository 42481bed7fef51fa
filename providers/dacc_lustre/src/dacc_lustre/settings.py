"""The section ``providers.lustre`` of the configuration. "LM" below is the Lustre Operations Manual, by the name of its section."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dacc_core.sdk import AbsolutePath, Count, InvalidRequest, Seconds, Size

from .layout import parse_component

GIB = 1 << 30
ALWAYS = ("nodev", "nosuid")
NID = re.compile(r"[A-Za-z0-9%][A-Za-z0-9%._:-]*@[a-z0-9]+")
SQUASH = re.compile(r"[0-9]+:[0-9]+")
NODEMAP = re.compile(r"[A-Za-z0-9_]{0,16}")
WORD = re.compile(r"[A-Za-z0-9_.*%:/=,@+-]+")

PARAMETERS = {
    "osc.%f-*.max_rpcs_in_flight": "64",
    "osc.%f-*.max_dirty_mb": "2000",
    "osc.%f-*.max_pages_per_rpc": "4096",
    "osc.%f-*.grant_shrink": "0",
    "llite.%f-*.max_read_ahead_mb": "512",
    "mdc.%f-*.max_rpcs_in_flight": "64",
    "obdfilter.%f-*.brw_size": "16",
    "*.%f-*.job_cleanup_interval": "21600",
}


@dataclass(frozen=True, kw_only=True)
class LustreSettings:
    """How filesystems are laid out, tuned and reached. Nonsense raises InvalidRequest."""

    nids: tuple[str, ...] = ()
    """The LNet NIDs of a storage host, one for each interface, ``%h`` being its name: ``[%h-opa@o2ib1]``, or with two HFIs
    ``[%h-opa1@o2ib1, %h-opa2@o2ib1]``. Names are resolved on the host and have to be among its NIDs. Empty: the NIDs that LNet has
    there. LM "Configuring Lustre Networking (LNet)"."""

    networks: tuple[str, ...] = ()
    """Without ``nids``: the LNet networks to use, such as ``[o2ib1]``. Empty: all but loopback."""

    client_nids: tuple[str, ...] = ()
    """The NIDs of a compute node, as ``nids``; used to evict a node that is dead. Empty: as ``nids``; if that is empty too, the node's
    name is resolved on the storage hosts. LM "Client Eviction"."""

    mgs_host: str = ""
    """The host that serves the MGT of all filesystems. It needs no bricks. Empty: the first brick host of each filesystem, which
    spreads the load. LM "Configuring a Simple Lustre File System"."""

    mgs_device: AbsolutePath = ""
    """The MGT's device on the MGS host. Empty: the partition there that ``dacc lustre prepare`` named ``dacc-mgt``."""

    mdt_slice: Size = 20 * GIB
    """How much of each brick ``dacc lustre prepare`` sets aside for an MDT. With Data-on-MDT the small files are there too.
    LM "Determining MDT Space Requirements"."""

    mgt_slice: Size = GIB
    """How much ``dacc lustre prepare`` sets aside for the MGT. LM "Determining MGT Space Requirements": less than 100 MB."""

    mdts_per_host: Count = 1
    """MDTs of a filesystem on each of its hosts, at most; never more than the host has bricks of the filesystem.
    LM "Adding a New MDT to a Lustre File System"."""

    max_mdts: Count = 24
    """MDTs of a filesystem at most. With more hosts than that, some have none."""

    layout: tuple[str, ...] = ("64K mdt", "16M 1 16M", "1G 2", "4G 4", "16G 8", "64G 16", "-1 -1")
    """The default layout of files: components as ``END COUNT [STRIPE SIZE]``, END and COUNT of the last being -1; ``mdt`` instead of a
    count keeps that part on the MDT. Counts are clipped to the OSTs there are. Empty: Lustre's own. LM "Progressive File Layout (PFL)"."""

    data_on_mdt: bool = True
    """Whether the ``mdt`` components of the layout count. LM "Data on MDT (DoM)"."""

    spread_directories: bool = True
    """Spread new directories over the MDTs (``lfs setdirstripe -D -c 1 -i -1 --max-inherit-rr 3``). LM "Creating a
    directory striped across multiple MDTs"."""

    parameters: Mapping[str, str] = field(default_factory=lambda: dict(PARAMETERS))
    """What ``lctl set_param -P`` sets on the MGS for each filesystem, ``%f`` being its name. Each must contain ``%f-``, since these are
    global to the MGS; they are unset when it is deleted. LM "Setting Permanent Parameters"."""

    timeout: Count = 100
    """Lustre's ``sys.timeout`` in seconds. LM "Setting Static Timeouts"."""

    backend: Literal["ldiskfs", "zfs"] = "ldiskfs"
    """On what targets keep their data. With ``zfs`` each slice is a pool of its own (OpenZFS 0.8 or newer). LM "Creating a Lustre File
    System with a ZFS Backend"."""

    zfs_mkfs_options: str = ""
    """``--mkfsoptions`` of all targets on ZFS: options of ``zfs create``, such as ``-o recordsize=1M``. LM "mkfs.lustre"."""

    mdt_mkfs_options: str = "-E nodiscard,lazy_itable_init=1"
    """``--mkfsoptions`` of MDTs on ldiskfs. LM "Setting Formatting Options for an ldiskfs MDT"."""

    ost_mkfs_options: str = "-m 0 -E nodiscard,lazy_itable_init=1"
    """``--mkfsoptions`` of OSTs on ldiskfs. LM "Setting Formatting Options for an ldiskfs OST"."""

    discard: bool = True
    """Discard all blocks (``blkdiscard``) before formatting and after deleting. Devices that cannot are left alone."""

    failout: bool = True
    """Clients get an error, rather than wait, while an OST is gone, so that jobs and unmounts end. LM "Specifying
    Failout/Failover Mode for OSTs"."""

    mount_options: tuple[str, ...] = ("flock", "noatime")
    """Options of client mounts; ``nodev,nosuid`` are always added. LM "mount.lustre"."""

    root_squash: str = ""
    """``UID:GID`` that root has on compute nodes, such as ``65534:65534``; storage hosts are excepted. There is no swap
    then. Empty: root is root. LM "Using Root Squash"."""

    nodemap: str = ""
    """The nodemap of your hosts on each MGS, by which you keep other machines out: creating a filesystem and ``dacc lustre check`` see
    that it is active, trusted, and has the hosts' NIDs. It is never changed. Empty: nodemaps are not looked at. LM "Mapping UIDs and GIDs
    with Nodemap"."""

    probe_seconds: Seconds = 30.0
    """How long looking at a host may take."""

    format_seconds: Seconds = 120.0
    """How long formatting all slices of a host may take, and wiping them."""

    start_seconds: Seconds = 300.0
    """How long starting or stopping all targets of a host may take."""

    settle_seconds: Seconds = 90.0
    """How long it may take until a new filesystem sees all its targets."""

    mount_seconds: Seconds = 60.0
    """How long one try to mount on a compute node may take."""

    unmount_seconds: Seconds = 60.0
    """How long each of the stages of an unmount may take: plain, and forced."""

    mount_tries: Count = 3
    """How often a mount is tried when its error is one that passes (EBUSY and its kin)."""

    helper: AbsolutePath = ""
    """Where the node helper is installed on every host. Empty: its text is sent along with each call."""

    sudo: bool = False
    """Run the installed helper through ``sudo -n``."""

    def __post_init__(self) -> None:
        problem = next(self._problems(), "")
        if problem:
            raise InvalidRequest(why=f"provider lustre: {problem}")

    def _problems(self) -> Iterator[str]:  # noqa: C901 - a list of checks
        for name in ("nids", "client_nids"):
            for nid in getattr(self, name):
                if not NID.fullmatch(nid):
                    yield f"{name}: {nid!r} is no NID: write ADDRESS@NETWORK, such as %h-opa@o2ib1"
        for key in self.parameters:
            if "%f-" not in key or not WORD.fullmatch(key) or not str(self.parameters[key]):
                yield f"parameters: {key!r} must contain %f-, no blanks, and have a value: it would count for other filesystems too"
        for option in self.mount_options:
            if not WORD.fullmatch(option) or "," in option:
                yield f"mount_options: {option!r} is no option: write a list of single ones"
        if self.root_squash and not SQUASH.fullmatch(self.root_squash):
            yield f"root_squash: {self.root_squash!r}: write UID:GID"
        if not NODEMAP.fullmatch(self.nodemap) or self.nodemap == "default":
            yield f"nodemap: {self.nodemap!r}: write the name of a nodemap of yours, up to 16 letters, digits and _, and not default"
        if self.sudo and not self.helper:
            yield "sudo needs helper: install the helper (dacc lustre helper) and name its path"
        for text in self.layout:
            try:
                parse_component(text)
            except ValueError as error:
                yield f"layout: {error}"
        if self.layout and not self.layout[-1].startswith("-1 "):
            yield f"layout: the last component must end at -1, not {self.layout[-1]!r}"
