"""The Lustre provider keeps the contract of the SDK, on hosts with real disks, ssh and mounts."""

from __future__ import annotations

from typing import Any

import pytest

from dacc_core.sdk import BrickRef
from dacc_core.testing import ProviderConformance, Scratch

from .cluster import LustreCluster
from .conftest import OpenCluster
from .lustre_site import MIB, SETTINGS, Volumes


@pytest.fixture(scope="module")
def cluster(open_cluster: OpenCluster) -> LustreCluster:
    """Two storage hosts whose bricks are prepared, and two clients. The MGT runs, as it does for good once there was a volume."""
    made = open_cluster(storage={"dac1": 1, "dac2": 1}, clients=["c1", "c2"], brick_size=256 * MIB)
    first = Volumes(made)
    first.prepare()
    first.create()
    first.delete()
    return made


@pytest.mark.long
class TestLustre(ProviderConformance):
    """On a brick of each of two storage hosts."""

    provider = "lustre"
    repeat = 3

    @pytest.fixture
    def scratch(self, cluster: LustreCluster) -> Scratch:
        bricks = tuple(BrickRef(host=host, device=cluster.bricks[host][0]) for host in cluster.storage)
        settings: dict[str, Any] = {**SETTINGS, "nids": list(SETTINGS["nids"]), "mount_seconds": 10.0, "unmount_seconds": 10.0}
        return Scratch(cluster.runner(), bricks, tuple(cluster.clients), settings=settings, capacity=32 * MIB)
