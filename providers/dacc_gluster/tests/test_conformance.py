"""The provider keeps the contract of the SDK."""

from __future__ import annotations

import os

import pytest
from dacc_core.sdk import BrickRef
from dacc_core.testing import ProviderConformance, Scratch

from .conftest import LEAST, NODES, ROOT, STORAGE, Site


@pytest.mark.long
class TestGluster(ProviderConformance):
    """On a brick of each of two storage hosts."""

    provider = "gluster"

    @pytest.fixture
    def scratch(self, site: Site) -> Scratch:
        bricks = tuple(BrickRef(host=host, device=site.servers.devices[host][0]) for host in STORAGE[:2])
        mount_root = f"/mnt/dacc-check-{os.getpid()}"  # a look at processes sees those of other workers, too
        settings = {"seed": STORAGE[0], "brick_root": ROOT}
        return Scratch(site.runner, bricks, NODES, mount_root, settings, capacity=LEAST, watch=(ROOT,))
