"""The life of a Lustre volume, from prepared bricks to clean ones. What can happen to it is in test_lifecycle.py."""

from __future__ import annotations

from .conftest import OpenCluster
from .lustre_site import MIB, PATH, Volumes, reached


def test_a_volume_lives_from_prepared_bricks_to_clean_ones(open_cluster: OpenCluster) -> None:
    cluster = open_cluster(storage={"dac1": 2, "dac2": 1}, clients=["c1", "c2"], brick_size=256 * MIB)
    volume = Volumes(cluster)
    volume.prepare()
    assert volume.create() >= volume.volume.capacity
    assert reached(volume.mount("c1", "c2")) == ["c1", "c2"]
    cluster.check("c1", "sh", "-c", f"echo hello > {PATH}/global/file")
    assert cluster.check("c2", "cat", f"{PATH}/global/file") == "hello\n"
    assert reached(volume.unmount("c1", "c2")) == ["c1", "c2"]
    volume.delete()
    volume.assert_gone()
