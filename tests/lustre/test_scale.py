"""A volume of the size that the issue asks for: 4 storage hosts with 3 bricks each, 24 nodes."""

from __future__ import annotations

import pytest

from .conftest import OpenCluster
from .lustre_site import MIB, PATH, Volumes, reached

pytestmark = pytest.mark.long


def test_twelve_bricks_serve_twenty_four_nodes(open_cluster: OpenCluster) -> None:
    nodes = [f"c{number}" for number in range(1, 25)]
    cluster = open_cluster(storage={f"dac{number}": 3 for number in range(1, 5)}, clients=nodes, brick_size=256 * MIB)
    volume = Volumes(cluster)
    volume.prepare()
    volume.create()
    assert len(volume.running()) == 12 + 4

    assert reached(volume.mount(*nodes)) == nodes
    cluster.check("c1", "sh", "-c", f"echo hello > {PATH}/global/file")
    assert {cluster.check(node, "cat", f"{PATH}/global/file") for node in nodes} == {"hello\n"}

    assert reached(volume.unmount(*nodes)) == nodes
    volume.delete()
    volume.assert_gone()
    assert volume.calls.count(tuple(nodes)) == 2  # one for the mount and one for the unmount
