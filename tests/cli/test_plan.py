"""``dacc plan``: what building a volume would do, in each form."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from dacc_core.cli.main import main
from dacc_core.errors import DaccError, NoSpace, NoSuchPool, Unsupported
from dacc_core.sdk import current_site

CONFIG = """
pools:
  default: {granularity: 1GiB, provider: lustre}
  other: {granularity: 1GiB, provider: fake}
bricks:
  dac[1-2]: [{device: /dev/nvme0n1}, {device: /dev/nvme1n1}, {device: /srv/b0, pool: other}]
providers:
  lustre: {nids: ["%h-opa@o2ib1"]}
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dacc.yaml"
    path.write_text(f"state_dir: {tmp_path}/state\n{CONFIG}")
    monkeypatch.setenv("DACC_CONFIG", str(path))


def plan(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--offline", *words])


def test_the_plan_has_phases_hosts_and_commands() -> None:
    lines = plan("--capacity", "3GiB").output.splitlines()

    assert lines[0] == "volume planonly: 3GiB on 3 bricks of 2 hosts"
    assert [line.partition(" (")[0] for line in lines if line[:1].isdigit()] == [
        *("1. MGT", "2. format", "3. start MDT0000", "4. start MDTs", "5. start OSTs", "6. tune", "7. settle")
    ]
    assert "  dac2: modprobe lustre" in lines


def test_a_capacity_is_rounded_up_to_bricks() -> None:
    assert json.loads(plan("--capacity", "1025MiB", "--format", "json").output)["volume"]["bricks"] == [
        "dac1:/dev/nvme0n1",
        "dac1:/dev/nvme1n1",
    ]


def test_the_json_has_every_command_as_words() -> None:
    steps = json.loads(plan("--capacity", "1GiB", "--format", "json").output)["steps"]

    assert all(isinstance(word, str) for step in steps for command in step["commands"] for word in command)
    assert {step["phase"] for step in steps} >= {"MGT", "format", "settle"}


def test_the_script_quotes_every_word_for_both_shells() -> None:
    lines = [line for line in plan("--capacity", "1GiB", "--format", "shell").output.splitlines() if line.startswith("ssh")]

    found = [shlex.split(shlex.split(line)[4]) for line in lines]
    expected = json.loads(plan("--capacity", "1GiB", "--format", "json").output)["steps"]
    assert found == [command for step in expected for command in step["commands"]]


def test_the_playbook_is_yaml_whose_tasks_are_the_commands() -> None:
    plays = yaml.safe_load(plan("--capacity", "3GiB", "--format", "ansible").output)

    found = [task["ansible.builtin.command"]["argv"] for play in plays for task in play["tasks"]]
    expected = json.loads(plan("--capacity", "3GiB", "--format", "json").output)["steps"]
    assert found == [command for step in expected for command in step["commands"]]
    assert {play["hosts"] for play in plays} == {"dac1", "dac2"}


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("--capacity", "5GiB"), NoSpace, "pool default has 4 bricks in the configuration and 5 are needed"),
        (("--capacity", "1GiB", "--pool", "fast"), NoSuchPool, "the configuration has default, other"),
        (("--capacity", "1GiB", "--pool", "other"), Unsupported, "provider fake does not say what it would do"),
    ],
)
def test_what_cannot_be_planned_is_refused(words: tuple[str, ...], error: type[DaccError], says: str) -> None:
    done = CliRunner().invoke(main, ["plan", "--offline", *words])

    assert done.exit_code == error.exit_code
    assert says in done.output


def test_outside_of_a_command_there_is_no_site() -> None:
    with pytest.raises(Unsupported, match="outside of a dacc command"):
        current_site()
