"""Root on one client puts things into the filesystem; root on another, with real mounts, follows none of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dacc_core.sdk import AlreadyExists, DaccError, PerHost, Swap

from .cluster import LustreCluster
from .conftest import OpenCluster
from .lustre_site import MIB, PATH, Volumes, reached

pytestmark = pytest.mark.long

OUTSIDE = "/run/outside"
PLANTS = {
    "a symbolic link": f"ln -s {OUTSIDE}",
    "a FIFO": "mkfifo",
    "another user's directory": "install -d -o 4321",
    "a directory that all may write": "mkdir -m 777",
}


@pytest.fixture(scope="module")
def cluster(open_cluster: OpenCluster) -> LustreCluster:
    made = open_cluster(storage={"dac1": 2}, clients=["c1", "c2"], brick_size=256 * MIB)
    Volumes(made).prepare()
    made.check("c2", "mkdir", "-p", "-m", "711", f"{OUTSIDE}/c2")
    return made


@pytest.fixture
def mounted(cluster: LustreCluster) -> Iterator[Volumes]:
    """A volume that both clients have mounted."""
    made = Volumes(cluster)
    made.create()
    assert reached(made.mount("c1", "c2")) == ["c1", "c2"]
    yield made
    made.unmount("c1", "c2")
    made.delete()
    made.assert_gone()


def swap(volumes: Volumes, call: str) -> PerHost:
    request = Swap(context=volumes.context(), volume=volumes.volume, state=volumes.state, hosts=("c2",), path=PATH, size=4 * MIB)
    done: PerHost = getattr(volumes.provider, call)(request)
    return done


def refused(error: DaccError | None, place: str) -> None:
    assert isinstance(error, AlreadyExists), error
    assert f"host c2: {PATH}/{place} " in str(error)


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_client_puts_in_place_of_private_is_refused_by_another(mounted: Volumes, what: str) -> None:
    mounted.cluster.check("c1", "sh", "-ec", f"rmdir {PATH}/private; {PLANTS[what]} {PATH}/private")

    refused(mounted.mount("c2", private=True, owner=1001, group=1001).hosts["c2"], "private")

    assert mounted.cluster.check("c2", "stat", "-c", "%u %a", OUTSIDE, f"{OUTSIDE}/c2").split() == ["0", "755", "0", "711"]


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_client_puts_in_place_of_anothers_directory_is_refused_there(mounted: Volumes, what: str) -> None:
    mounted.cluster.check("c1", "sh", "-ec", f"{PLANTS[what]} {PATH}/private/c2; touch {PATH}/private/c2/x || true")

    refused(mounted.mount("c2", private=True, owner=1001, group=1001).hosts["c2"], "private/c2")
    mounted.cluster.run("c2", ["rm", "-f", f"{OUTSIDE}/x"])


def test_a_private_directory_is_made_once_and_found_again(mounted: Volumes) -> None:
    for _ in range(2):
        assert reached(mounted.mount("c2", private=True, owner=1001, group=1001)) == ["c2"]

    assert mounted.cluster.check("c1", "stat", "-c", "%u %a", f"{PATH}/private/c2").split() == ["1001", "700"]


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_client_puts_in_place_of_swap_is_refused_by_another(mounted: Volumes, what: str) -> None:
    mounted.cluster.check("c1", "sh", "-ec", f"{PLANTS[what]} {PATH}/swap")

    refused(swap(mounted, "swap_on").hosts["c2"], "swap")
