"""Several pools: each counts its own bricks, and the default one comes first."""

from __future__ import annotations

from .slurm import MIB, Slurm, refused, succeeded

SITE = {
    "backing": "none",
    "hosts": 1,
    "extra": {
        "pools": {
            "default": {"granularity": 64 * MIB, "provider": "fake"},
            "a-fast": {"granularity": 16 * MIB, "provider": "fake"},
        },
        "bricks": {"dac1": [{"device": "/b/0"}, {"device": "/b/1"}, *({"device": f"/b/f{n}", "pool": "a-fast"} for n in range(3))]},
    },
}


def test_each_pool_counts_its_own_bricks_and_the_default_is_first(slurm: Slurm) -> None:
    job = slurm.job("#DW jobdw capacity=20MiB access_mode=striped type=scratch pool=a-fast", mib=20)
    job.capacity = "a-fast:32MiB"
    succeeded(job.process(), job.setup())
    assert job.real_size() == 32 * MIB
    found = [(pool["id"], pool["granularity"], pool["quantity"], pool["free"]) for pool in slurm.read("pools")]
    assert found == [("default", 64 * MIB, 2, 2), ("a-fast", 16 * MIB, 3, 1)]


def test_a_full_pool_leaves_the_other_alone(slurm: Slurm) -> None:
    one, other = slurm.striped(mib=128), slurm.striped(mib=64)
    succeeded(one.setup())
    with other.waiting():
        assert "pool default has 0 free of 2 bricks" in other.why()
        fast = slurm.job("#DW jobdw capacity=48MiB access_mode=striped type=scratch pool=a-fast", mib=48)
        fast.capacity = "a-fast:48MiB"
        succeeded(fast.setup())


def test_a_pool_that_does_not_exist_is_refused_at_submit(slurm: Slurm) -> None:
    line = refused(slurm.job("#DW jobdw capacity=20MiB access_mode=striped type=scratch pool=nosuch").process())
    assert "nosuch" in line
    assert "a-fast" in line
