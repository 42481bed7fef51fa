"""A site's nodemap on the MGS: what an operator does until volumes can be made and nodes are in it."""

from __future__ import annotations

import pytest
from dacc_lustre import fitness

from dacc_core.sdk import DaccError

from .conftest import OpenCluster
from .lustre_site import MIB, Volumes, reached

pytestmark = pytest.mark.long
SITE = """
lctl nodemap_add site
lctl nodemap_add_range --name site --range '10.78.0.[1-3]@o2ib1'
lctl nodemap_modify --name site --property trusted --value 1
lctl nodemap_modify --name site --property admin --value 1
lctl nodemap_modify --name default --property deny_unknown --value 1
lctl nodemap_activate 1
"""


def test_a_volume_is_made_when_the_nodemap_is_as_the_guide_says(open_cluster: OpenCluster) -> None:
    cluster = open_cluster(storage={"dac1": 1}, clients=["c1", "c2"], brick_size=256 * MIB)
    volume = Volumes(cluster, settings={"nodemap": "site"})
    volume.prepare()

    with pytest.raises(DaccError, match="nodemaps are not active on the MGS here"):
        volume.create()
    assert volume.labels() == []

    cluster.check("dac1", "sh", "-ec", SITE)
    volume.create()
    assert reached(volume.mount("c1")) == ["c1"]

    found = fitness.look(volume.context(), volume.provider.settings, {"dac1": cluster.bricks["dac1"], "c1": [], "c2": []})
    (stranger,) = (one.text for one in found if one.level == "error")
    assert f"{cluster.nid('c2')} (in default)" in stranger

    volume.unmount("c1")
    volume.delete()
    volume.assert_gone()
