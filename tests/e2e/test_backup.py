"""The state is saved while jobs run, lost, and restored; then jobs run again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import open_site
from .slurm import Slurm, refused, succeeded


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with open_site() as site:
        yield site
        site.clean()


def stop(slurm: Slurm) -> None:
    for host in list(slurm.site.daemons):
        slurm.site.stop(host)


def lose(slurm: Slurm) -> None:
    """The disk with the keystore is gone."""
    stop(slurm)
    for path in Path(slurm.site.directory / "state").glob("store.db*"):
        path.unlink()


def test_buffers_and_running_jobs_are_there_again_after_a_restore(slurm: Slurm) -> None:
    file = str(slurm.site.directory / "backup")
    succeeded(slurm.create("work"))
    user = slurm.job("#DW persistentdw name=work").begin("c1")
    user.does("c1", 'echo precious > "$DW_PERSISTENT_STRIPED_work/file"')
    succeeded(slurm.dacc("backup", file))
    lose(slurm)
    assert "no keystore at" in refused(slurm.dacc("backup", file))
    assert "--trust-free" not in succeeded(slurm.dacc("restore", file, "--trust-free"))
    slurm.site.start()
    assert slurm.tokens() == {"work", user.token}
    assert user.does("c1", 'cat "$DW_PERSISTENT_STRIPED_work/file"') == "precious\n"
    user.end()
    job = slurm.striped(mib=64).begin("c2")
    job.does("c2", 'touch "$DW_JOB_STRIPED/x"')
    job.end()
    assert succeeded(slurm.destroy("work")) == ""
    assert slurm.free() == 6


def test_a_session_that_began_after_the_backup_keeps_its_bricks_to_itself(slurm: Slurm) -> None:
    """The backup calls them free; they are not."""
    file = str(slurm.site.directory / "backup")
    succeeded(slurm.dacc("backup", file))
    later = slurm.striped(mib=64).begin("c1")
    lose(slurm)
    assert "3 free bricks are in quarantine" in succeeded(slurm.dacc("restore", file))
    slurm.site.start()
    assert slurm.free() == 0
    job = slurm.striped(mib=64)
    with job.waiting():
        assert "6 in quarantine: ask an operator" in job.why()
    succeeded(job.teardown(hurry=True))
    later.does("c1", 'touch "$DW_JOB_STRIPED/still-there"')
    slurm.jobs.clear()
    found = json.loads(succeeded(slurm.dacc("hosts", "--json")))
    assert all("may be in use" in brick["reason"] for host in found for brick in host["bricks"])


def test_a_store_in_use_is_not_replaced(slurm: Slurm) -> None:
    file = str(slurm.site.directory / "backup")
    succeeded(slurm.dacc("backup", file))
    assert "stop dacd on ctl, dac1, dac2 first" in refused(slurm.dacc("restore", file, "--force"))
    slurm.striped(mib=64).begin("c1").end()
    stop(slurm)
    succeeded(slurm.dacc("restore", file, "--force", "--trust-free"))
    slurm.site.start()
    slurm.striped(mib=64).begin("c1").end()
