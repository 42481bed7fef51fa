"""The Lustre provider keeps the contract of the SDK, on hosts with real disks, ssh and mounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dacc_core.sdk import BrickRef
from dacc_core.testing import ProviderConformance, Scratch

from .cluster import LustreCluster
from .conftest import OpenCluster
from .lustre_site import MIB, ON_ZFS, SETTINGS, Volumes


@pytest.fixture(scope="module")
def cluster(open_cluster: OpenCluster) -> LustreCluster:
    """Two storage hosts whose bricks are prepared, and two clients. The MGT runs, as it does for good once there was a volume."""
    return used_once(open_cluster, {}, brick_size=256 * MIB)


@pytest.fixture(scope="module")
def zfs_cluster(open_cluster: OpenCluster) -> LustreCluster:
    """The same with ZFS."""
    return used_once(open_cluster, ON_ZFS, brick_size=320 * MIB, zfs=True)


def used_once(open_cluster: OpenCluster, settings: Mapping[str, Any], **more: Any) -> LustreCluster:
    made = open_cluster(storage={"dac1": 1, "dac2": 1}, clients=["c1", "c2"], **more)
    first = Volumes(made, settings=settings)
    first.prepare()
    first.create()
    first.delete()
    return made


def scratch_on(cluster: LustreCluster, **more: Any) -> Scratch:
    bricks = tuple(BrickRef(host=host, device=cluster.bricks[host][0]) for host in cluster.storage)
    settings = {**SETTINGS, "nids": list(SETTINGS["nids"]), "mount_seconds": 10.0, "unmount_seconds": 10.0, **more}
    mounts = f"/mnt/{cluster.directory.name}"  # hosts of one machine see each other's loop devices, and what files those have
    return Scratch(cluster.runner(), bricks, tuple(cluster.clients), mounts, settings=settings, capacity=32 * MIB)


@pytest.mark.long
class TestLustre(ProviderConformance):
    """On a brick of each of two storage hosts."""

    provider = "lustre"
    repeat = 3

    @pytest.fixture
    def scratch(self, cluster: LustreCluster) -> Scratch:
        return scratch_on(cluster)


@pytest.mark.long
class TestLustreOnZfs(ProviderConformance):
    """The same with a pool for each target."""

    provider = "lustre"
    repeat = 3

    @pytest.fixture
    def scratch(self, zfs_cluster: LustreCluster) -> Scratch:
        return scratch_on(zfs_cluster, **ON_ZFS)
