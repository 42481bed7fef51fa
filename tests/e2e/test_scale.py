"""Large jobs through the real client: 30,000 nodes, scripts of 10,000 lines, many at once (peer rows 22 to 26)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from .slurm import NOBODY, Slurm, refused, succeeded

SITE = {"backing": "none", "bricks": 16}
NODES = [f"x{number // 100:03}c{number % 100:02}" for number in range(30_000)]


def alive(slurm: Slurm) -> bool:
    """Whether every daemon still runs, none having been restarted."""
    return all(daemon.poll() is None for daemon in slurm.site.daemons.values())


def test_a_job_on_30000_nodes_starts_and_ends(slurm: Slurm) -> None:
    job = slurm.striped().begin(*NODES)
    (found,) = json.loads(succeeded(slurm.dacc("status", "--json")))["sessions"]
    assert found["met"]
    assert "30000" in succeeded(slurm.dwstat("sessions"))
    succeeded(job.pre_run(*NODES[:29_000]))
    assert "29000" in succeeded(slurm.dwstat("sessions"))
    job.end()
    assert alive(slurm)


def test_every_other_of_30000_nodes_is_not_much_more(slurm: Slurm) -> None:
    slurm.striped().begin(*NODES[::2]).end()
    assert alive(slurm)


def test_a_script_of_10000_lines_is_read(slurm: Slurm) -> None:
    job = slurm.striped("#SBATCH --nodes=2", body="echo a line of the job\n" * 10_000)
    succeeded(job.process())
    job.begin("c1").end()


def test_a_script_that_stages_more_than_a_record_may_hold_is_refused_at_submit(slurm: Slurm) -> None:
    many = (f"#DW stage_in source=/home/user/input/{number} destination=$DW_JOB_STRIPED/{number} type=file" for number in range(10_000))
    job = slurm.striped(*many)
    answer = job.process()
    assert answer.rc != 0
    assert len(answer.output) < 2000
    refused(job.setup())
    assert slurm.tokens() == set()
    assert alive(slurm)


def test_a_thousand_stage_requests_are_accepted(slurm: Slurm) -> None:
    place = slurm.site.directory / "home" / "nobody"
    many = (f"#DW stage_in source={place}/{number} destination=$DW_JOB_STRIPED/{number} type=file" for number in range(1000))
    job = slurm.striped(*many)
    succeeded(job.process(), job.setup())


@pytest.mark.parametrize(
    ("content", "good"),
    [
        (b"#DW jobdw capacity=1GiB access_mode=striped type=scratch" + b" " * 70_000 + b"\n", True),
        (b"#DW jobdw capacity=1GiB access_mode=striped type=scratch\r\n", None),
        (b"", True),
        (b"\0\0\0", None),
        (b"#!/bin/sh\n#DW jobdw capacity=1GiB type=scratch access_mode=striped\n\xff\xfe\n", True),
        (b"#DW jobdw capacity=NaNGB access_mode=striped type=scratch\n", False),
        (b"#DW jobdw capacity=1GiB access_mode=bogus type=scratch\n#DW stage_in source=/a destination=/b type=file\n", False),
        (b"#DW stage_in source=-e/x/evil.sh destination=$DW_JOB_STRIPED/x type=file\n", False),
        (b"#DW stage_in source=/a;reboot destination=$(x) type=bogus\n", False),
    ],
    ids=["70 kB line", "CRLF", "empty", "NUL", "not UTF-8", "NaN", "bogus mode", "option as path", "shell"],
)
def test_hostile_scripts_end_no_daemon(slurm: Slurm, content: bytes, good: bool | None) -> None:
    job = slurm.job(mib=32)
    job.script.write_bytes(content)
    answer = job.process()
    if good is not None:
        assert (answer.rc == 0) == good, answer
    assert "Traceback" not in answer.output
    assert "internal error" not in answer.output
    assert "internal error" not in job.setup().output
    assert alive(slurm)
    succeeded(slurm.call("pools"))


@pytest.mark.parametrize("nodes", ["c1\n\nc2\n", "c1\r\nc2\r\n", "c1\nc1\n"], ids=["blank line", "CRLF", "a node twice"])
def test_node_files_that_can_be_understood_are(slurm: Slurm, nodes: str) -> None:
    job = slurm.striped()
    succeeded(job.setup(), job.data_in())
    args = job.pre_run_args()
    (job.script.parent / f"nodes.{job.token}").write_text(nodes)
    succeeded(slurm.call("pre_run", *args))


@pytest.mark.parametrize("nodes", ["", "nöde\n", "a;reboot\n", "-oProxyCommand=x\n", "../x\n"])
def test_node_files_that_cannot_be_meant_are_refused(slurm: Slurm, nodes: str) -> None:
    job = slurm.striped()
    succeeded(job.setup(), job.data_in())
    args = job.pre_run_args()
    (job.script.parent / f"nodes.{job.token}").write_text(nodes)
    refused(slurm.call("pre_run", *args))
    assert alive(slurm)


@pytest.mark.parametrize(
    "capacity",
    ["default:-1GiB", "default:NaNGiB", "default:8388608TiB", "../x:1GiB", "défaut:1GiB", "default", "", "nosuch:1GiB", "default:1.5GiB"],
)
def test_capacities_that_cannot_be_meant_are_refused(slurm: Slurm, capacity: str) -> None:
    job = slurm.striped()
    job.capacity = capacity
    refused(job.setup())
    assert slurm.tokens() == set()
    assert alive(slurm)


@pytest.mark.parametrize("name", ["1abc", "a'b", "a b", "a/b", "..", "", "ä", "a\nb", "-x", "--hurry", "a" * 100, "kept-a0010000"])
def test_names_that_cannot_be_a_buffers_are_refused(slurm: Slurm, name: str) -> None:
    answer = slurm.call("create_persistent", "-c", "CLI", "-t", name, "-u", str(NOBODY.pw_uid), "-C", "default:1GiB")
    refused(answer)
    assert "created" not in answer.output
    assert slurm.tokens() == set()


@pytest.mark.parametrize("name", ["1abc", "a'b", "a b", "..", "ä", "-x", "a" * 100])
def test_destroying_what_can_never_have_been_succeeds(slurm: Slurm, name: str) -> None:
    # Slurm takes only an exit code of 0, and else asks again at each scheduling pass.
    assert "token not found" in succeeded(slurm.destroy(name))


def test_sixty_four_jobs_at_once(slurm: Slurm) -> None:
    def whole(_: int) -> None:
        job = slurm.job("#BB create_persistent name=x capacity=32MiB access_mode=striped type=scratch")
        succeeded(job.setup(), job.data_in())
        job.end()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(whole, range(64)))
    assert slurm.tokens() == set()
