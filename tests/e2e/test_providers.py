"""A provider as `dacc provider new` makes it, installed from its wheel, next to another one: each serves a pool of the same cluster."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clean import ROOT, Environment, run
from .conftest import open_site
from .slurm import MIB, Job, Slurm, succeeded

NAME = "my-fs"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can enter."""
    made = Path(tempfile.mkdtemp(prefix="dacc-e2e-provider-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def environment(place: Path) -> Environment:
    """dacc, the provider `fake` and a new one."""
    made = Environment.make(place / "env")
    made.run("dacc", "provider", "new", NAME, cwd=place)
    made.install(place / f"dacc-provider-{NAME}")
    made.install(ROOT / "providers" / "dacc_fake")
    return made


@pytest.fixture(scope="module")
def serving(environment: Environment) -> Iterator[Slurm]:
    """A cluster whose pool `fast` is served by the new provider, and the default one by `fake`."""
    with open_site(start=False, programs=environment.bin) as slurm:
        site = slurm.site
        pools = {"default": {"granularity": 32 * MIB, "provider": "fake"}, "fast": {"granularity": 16 * MIB, "provider": NAME}}
        bricks = {
            host: [
                {"device": f"{site.directory}/bricks/{host}/b0"},
                {"device": f"{site.directory}/bricks/{host}/b1", "pool": "fast"},
                {"device": f"{site.directory}/bricks/{host}/b2", "pool": "fast"},
            ]
            for host in site.brick_hosts
        }
        site.configure(pools=pools, bricks=bricks)
        site.start()
        yield slurm


@pytest.mark.long
def test_a_new_package_passes_its_own_tests_unedited(environment: Environment, place: Path) -> None:
    shown = environment.run("python", "-m", "pytest", "-p", "no:cacheprovider", cwd=place / f"dacc-provider-{NAME}")
    assert re.search(r"\b\d+ passed, 10 skipped in", shown)
    left_out = re.findall(r"^(not \w+): (.*?) \((\d+) checks\)$", shown, re.M)
    assert {state for state, _, _ in left_out} == {"not declared"}
    assert sum(int(number) for _, _, number in left_out) == 10


def test_a_new_package_is_listed_as_usable_with_its_settings(environment: Environment) -> None:
    (row,) = json.loads(environment.run("dacc", "providers", "show", NAME, "--json"))
    assert (row["package"], row["version"], row["api"], row["state"], row["reason"]) == (f"dacc-provider-{NAME}", "0.1.0", "1.1", "ok", "")
    (setting,) = row["settings"]
    assert (setting["name"], setting["type"], setting["default"]) == ("command_seconds", "number", "30")
    assert setting["text"] == "How long one command may take on a host."


def test_a_new_package_passes_the_checks_that_change_nothing(environment: Environment) -> None:
    said = environment.run("dacc", "provider", "check", NAME).splitlines()
    assert said[0].startswith("ok ")
    assert [line for line in said if line.startswith(("FAILED", "not reached"))] == []


@pytest.fixture(scope="module")
def upgraded(place: Path, environment: Environment) -> Environment:
    """An environment in which dacc was upgraded to a version whose SDK is another one."""
    source = place / "dacc-next"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "providers", "bench"))
    for file, old, new in (
        ("dacc_core/sdk/provider.py", "API_VERSION = (1, 1)", "API_VERSION = (2, 0)"),
        ("pyproject.toml", "0.1.0", "0.2.0"),
    ):
        text = (source / file).read_text()
        assert old in text
        (source / file).write_text(text.replace(old, new, 1))
    made = Environment.make(place / "upgraded")
    made.install(place / f"dacc-provider-{NAME}")
    assert json.loads(made.run("dacc", "providers", "show", NAME, "--json"))[0]["state"] == "ok"
    made.install(source)
    return made


def test_after_an_upgrade_to_another_api_a_provider_is_refused_and_told_why(upgraded: Environment) -> None:
    (row,) = json.loads(upgraded.run("dacc", "providers", "list", "--json"))
    assert (row["name"], row["state"]) == (NAME, "incompatible")
    said = run("sh", "-c", f"{upgraded.bin}/dacc provider check {NAME}; echo $?").splitlines()
    assert said == [
        f"dacc: provider {NAME} cannot load: entry point `{NAME} = dacc_my_fs` of dacc-provider-{NAME} 0.1.0: {row['reason']}",
        "81",
    ]
    assert "API 1.1" in row["reason"]
    assert "2.0" in row["reason"]


def fast(slurm: Slurm, *more: str, access: str = "striped") -> Job:
    """A job with a buffer in the pool of the new provider."""
    job = slurm.job(f"#DW jobdw pool=fast capacity=16MiB access_mode={access} type=scratch", *more)
    job.capacity = f"fast:{16 * MIB}"
    return job


def provider_of(slurm: Slurm, job: Job) -> str:
    return str(slurm.site.ask("show", job.token)["session"]["volume"]["provider"])


def test_a_job_runs_on_a_new_provider(slurm: Slurm) -> None:
    source, target = (slurm.site.directory / "home" / "nobody" / name for name in ("in", "out"))
    source.write_text("data")
    staged = (
        f"#DW stage_in type=file source={source} destination=$DW_JOB_STRIPED/in",
        f"#DW stage_out type=file source=$DW_JOB_STRIPED/out destination={target}",
    )
    job = fast(slurm, *staged)
    succeeded(job.process())
    job.begin("c1", "c2")
    assert provider_of(slurm, job) == NAME
    job.does("c1", 'cp "$DW_JOB_STRIPED/in" "$DW_JOB_STRIPED/out"')
    assert job.does("c2", 'cat "$DW_JOB_STRIPED/out"') == "data"
    job.end()
    assert target.read_text() == "data"
    assert list((slurm.site.directory / "bricks").glob("*/*/*")) == []


def test_each_node_has_a_private_directory_on_a_new_provider(slurm: Slurm) -> None:
    job = fast(slurm, access="private").begin("c1", "c2")
    job.does("c1", 'touch "$DW_JOB_PRIVATE/mine"')
    assert job.does("c2", 'ls "$DW_JOB_PRIVATE"') == ""
    job.end()


def test_jobs_of_two_pools_run_at_once_each_on_its_provider(slurm: Slurm) -> None:
    one, other = slurm.striped().begin("c1"), fast(slurm).begin("c1")
    assert [provider_of(slurm, job) for job in (one, other)] == ["fake", NAME]
    for job in (one, other):
        job.does("c1", f'echo {job.token} > "$DW_JOB_STRIPED/who"')
    assert [job.does("c1", 'cat "$DW_JOB_STRIPED/who"').strip() for job in (one, other)] == [one.token, other.token]
    one.end()
    assert other.does("c1", 'cat "$DW_JOB_STRIPED/who"').strip() == other.token
    other.end()


def test_a_full_pool_of_one_provider_leaves_the_other_alone(slurm: Slurm) -> None:
    jobs = [fast(slurm) for _ in range(4)]
    for job in jobs:
        succeeded(job.setup())
    assert {pool["id"]: pool["free"] for pool in slurm.read("pools")} == {"default": 2, "fast": 0}
    succeeded(slurm.striped().setup())


def test_a_job_may_use_a_buffer_of_the_other_provider(slurm: Slurm) -> None:
    succeeded(slurm.create("shared"))
    job = fast(slurm, "#DW persistentdw name=shared").begin("c1")
    job.does("c1", 'echo kept > "$DW_PERSISTENT_STRIPED_shared/file"; touch "$DW_JOB_STRIPED/own"')
    job.end()
    later = slurm.job("#DW persistentdw name=shared").begin("c2")
    assert later.does("c2", 'cat "$DW_PERSISTENT_STRIPED_shared/file"') == "kept\n"
    later.end()
