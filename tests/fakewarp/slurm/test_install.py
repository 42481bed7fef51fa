"""``fakewarp install-slurm``, as people start it."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from dacc_core.config import parse_text
from fakewarp.slurm import files
from fakewarp.slurm.site import read_site
from tests.support.requirements import require

from .node import make_site

BIN = Path(os.path.abspath(sys.executable)).parent  # noqa: PTH100 - not where a link leads
NAMES = list(files.FILES)
CONFIG = """\
default_pool: fast
pools: {fast: {granularity: 1GiB, provider: fake}}
slurm_user: slurmer
mount_root: /mnt/bb
slurm: {other_timeout: 400, validate_timeout: 7, stage_in_timeout: 1000, stage_out_timeout: 2000.5}
"""

Run = subprocess.CompletedProcess[str]
Install = Callable[..., Run]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dacc.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def install(config: Path, tmp_path: Path) -> Install:
    """Run the installed program with a site's configuration, in a directory of its own."""

    def run(*args: str | Path, env: dict[str, str] | None = None, umask: int = 0o022) -> Run:
        environ = {"PATH": "/usr/bin:/bin", "DACC_CONFIG": str(config), **(env or {})}
        argv = [BIN / "fakewarp", "install-slurm", *args]
        return subprocess.run(argv, env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=umask)

    return run


def fails(done: Run, code: int, *lines: str) -> None:
    """It ended with this code and these lines (regular expressions) on standard error."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(lines), said
    for line, expected in zip(said, lines, strict=True):
        assert re.fullmatch(f"fakewarp install-slurm: {expected}", line), line


def written(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def values(text: str) -> dict[str, str]:
    """The settings of a file, without its comments."""
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def shown(install: Install, *args: str | Path) -> dict[str, str]:
    """The files as they are printed."""
    done = install("--print", *args)
    assert (done.returncode, done.stderr) == (0, "")
    parts = re.split(r"^==> (.+) <==\n", done.stdout, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


# --- printing and writing ---


def test_print_shows_every_file_and_writes_none(install: Install, tmp_path: Path) -> None:
    assert list(shown(install)) == NAMES
    assert written(tmp_path) == ["dacc.yaml"]


def test_write_makes_every_file(install: Install, tmp_path: Path) -> None:
    assert install("--write", "out/slurm").returncode == 0
    assert written(tmp_path / "out/slurm") == sorted(NAMES)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_scripts_can_be_executed_and_all_files_read_whatever_the_umask(install: Install, tmp_path: Path, umask: int) -> None:
    install("--write", "out", umask=umask)
    modes = {name: oct((tmp_path / "out" / name).stat().st_mode & 0o777) for name in NAMES}
    assert modes == {name: "0o755" if name.endswith("/50-dacc") else "0o644" for name in NAMES}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_dir()} == {0o755}


def test_write_says_what_to_do_with_each_file(install: Install, tmp_path: Path) -> None:
    lines = install("--write", "out").stdout.splitlines()
    assert lines[::2] == [f"{tmp_path}/out/{name}: written" for name in NAMES]
    assert lines[1::2] == [f"    {then}" for _, then in files.FILES.values()]


def test_writing_again_changes_nothing(install: Install, tmp_path: Path) -> None:
    install("--write", "out")
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")}
    again = install("--write", "out")
    assert again.stdout.splitlines()[::2] == [f"{tmp_path}/out/{name}: is so already" for name in NAMES]
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")} == before


def test_a_script_that_lost_its_mode_is_written_again(install: Install, tmp_path: Path) -> None:
    install("--write", "out")
    (tmp_path / "out/epilog.d/50-dacc").chmod(0o644)
    assert f"{tmp_path}/out/epilog.d/50-dacc: written" in install("--write", "out").stdout
    assert os.access(tmp_path / "out/epilog.d/50-dacc", os.X_OK)


def test_a_file_that_differs_is_not_replaced_and_nothing_else_is_written(install: Install, tmp_path: Path) -> None:
    (tmp_path / "out/systemd").mkdir(parents=True)
    (tmp_path / "out/systemd/dacd.service").write_text("mine")
    fails(install("--write", "out"), 30, f"{tmp_path}/out/systemd/dacd.service: differs from what would be written: .* --force")
    assert written(tmp_path / "out") == ["systemd/dacd.service"]


def test_with_force_a_file_that_differs_is_replaced(install: Install, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/burst_buffer.conf").write_text("mine")
    assert install("--write", "out", "--force").returncode == 0
    assert "GetSysState" in (tmp_path / "out/burst_buffer.conf").read_text()


def test_a_link_is_replaced_and_not_written_through(install: Install, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "out/burst_buffer.conf").symlink_to(tmp_path / "elsewhere")
    assert install("--write", "out").returncode == 30
    assert install("--write", "out", "--force").returncode == 0
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("name", ["systemd", "prolog.d"])
def test_when_one_file_cannot_be_written_none_is(install: Install, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("a file where a directory must be")
    fails(install("--write", "out", "--force"), 15, f"cannot write into {tmp_path}/out: Not a directory")
    assert written(tmp_path / "out") == [name]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_when_the_disk_is_full_nothing_is_left(install: Install, tmp_path: Path) -> None:
    require(os.geteuid() == 0, "root, for mounts")
    (tmp_path / "out").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=7", "none", tmp_path / "out"], check=True)
    try:
        fails(install("--write", "out/etc"), 15, f"cannot write into {tmp_path}/out/etc: No space left on device")
        assert list((tmp_path / "out").iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path / "out"], check=True)


def test_a_directory_in_the_place_of_a_file_is_said(install: Install, tmp_path: Path) -> None:
    (tmp_path / "out/burst_buffer.conf").mkdir(parents=True)
    fails(install("--write", "out", "--force"), 30, f"{tmp_path}/out/burst_buffer.conf must be a file and is a directory: .*")


# --- what is wrong with a call ---


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "say either --print or --write DIR"),
        (["--print", "--write", "out"], "say either --print or --write DIR"),
        (["--write", ""], "say either --print or --write DIR"),
        (["--write"], "Option '--write' requires an argument."),
        (["--prnt"], "No such option '?:? ?--prnt.*"),
        (["--print", "more"], r"Got unexpected extra argument \(more\)"),
    ],
)
def test_a_wrong_command_line_is_one_line(install: Install, args: list[str], message: str) -> None:
    fails(install(*args), 2, message)


@pytest.mark.parametrize("root", ["relative", "mnt/dac", "\n/mnt", "/mnt/\n[x]", "/mnt/\x1b", "/mnt/\udcff"])
def test_a_mount_root_that_cannot_be_is_one_line(install: Install, root: str) -> None:
    fails(install("--print", "--mount-root", root), 15, "--mount-root .*")


@pytest.mark.parametrize("directory", ["a b", "quote'd", "per%cent", "star*", "ha#sh", "ä"])
def test_a_directory_that_slurm_would_misread_is_one_line(install: Install, tmp_path: Path, directory: str) -> None:
    fails(install("--write", directory), 15, ".* has characters that Slurm or systemd would not take as they are: .*")
    assert written(tmp_path) == ["dacc.yaml"]


def test_every_problem_of_the_configuration_is_one_line(install: Install, config: Path, tmp_path: Path) -> None:
    config.write_text("slurm: {other_timeout: -1}\nnonsense: 1\n")
    fails(install("--write", "out"), 14, rf"{config}:1:\d+: slurm.other_timeout: .*", rf"{config}:2:1: nonsense: .*")
    assert written(tmp_path) == ["dacc.yaml"]


@pytest.mark.parametrize("seconds", ["2147483.5", "1e12", ".inf", ".nan"])
def test_a_timeout_that_slurm_cannot_count_is_one_line(install: Install, config: Path, seconds: str) -> None:
    config.write_text(f"slurm:\n  other_timeout: {seconds}\n")
    fails(install("--print"), 14, rf"{config}:2:\d+: slurm.other_timeout: .*")


def test_a_configuration_that_is_not_there_is_one_line(install: Install) -> None:
    fails(install("--print", "--config", "none.yaml"), 14, "none.yaml: does not exist: .*")


def test_output_that_nobody_reads_is_no_traceback(install: Install, tmp_path: Path, config: Path) -> None:
    script = 'trap "" PIPE; "$1" install-slurm --print | head -1'
    done = subprocess.run(
        ["bash", "-c", script, "bash", BIN / "fakewarp"], env={"DACC_CONFIG": str(config)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("==> burst_buffer.conf <==\n", "")


def test_output_that_cannot_be_written_is_one_line(config: Path) -> None:
    with Path("/dev/full").open("w") as full:
        argv = [BIN / "fakewarp", "install-slurm", "--print"]
        done = subprocess.run(argv, env={"DACC_CONFIG": str(config)}, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "fakewarp install-slurm: cannot write the output: No space left on device\n")


def test_help_is_shown(install: Install) -> None:
    assert install("--help").stdout.startswith("Usage: fakewarp install-slurm [OPTIONS]")


# --- what is in the files ---


def test_slurms_settings_are_those_of_the_site(install: Install) -> None:
    assert values(shown(install)["burst_buffer.conf"]) == {
        "GetSysState": f"{BIN}/fakewarp",
        "GetSysStatus": f"{BIN}/dwstat",  # never fakewarp: any user's arguments get there
        "Flags": "EnablePersistent,TeardownFailure",
        "DefaultPool": "fast",
        "OtherTimeout": "400",
        "ValidateTimeout": "7",
        "StageInTimeout": "1000",
        "StageOutTimeout": "2001",  # Slurm must not be the first to give up
    }


def test_every_setting_has_a_comment_right_above(install: Install) -> None:
    paragraphs = shown(install)["burst_buffer.conf"].strip().split("\n\n")
    assert [part for part in paragraphs if not part.startswith("#")] == []


def test_slurm_conf_names_the_scripts_where_they_are_written(install: Install, tmp_path: Path) -> None:
    install("--write", "out")
    found = values((tmp_path / "out/slurm.conf.fragment").read_text())
    assert found["BurstBufferType"] == "burst_buffer/datawarp"
    assert {name: found[name] for name in ("Prolog", "Epilog")} == {
        "Prolog": f"{tmp_path}/out/prolog.d/*",
        "Epilog": f"{tmp_path}/out/epilog.d/*",
    }


def test_slurm_conf_names_the_usual_place_when_nothing_is_written(install: Install) -> None:
    found = values(shown(install)["slurm.conf.fragment"])
    assert (found["Prolog"], found["Epilog"]) == ("/etc/slurm/prolog.d/*", "/etc/slurm/epilog.d/*")


def test_what_slurms_user_must_be_is_said(install: Install) -> None:
    assert "`slurmer`" in shown(install)["slurm.conf.fragment"]


def test_slurmctlds_environment_is_only_spoken_of_when_it_is_needed(install: Install, config: Path) -> None:
    def environment(text: str) -> list[str]:
        config.write_text(text)
        return re.findall(r"Environment=(.*)", shown(install)["slurm.conf.fragment"])

    assert environment("cluster: hal") == [f"DACC_CONFIG={config}"]
    assert environment("socket: /run/other.sock") == [f"DACC_CONFIG={config} DACC_SOCKET=/run/other.sock"]
    assert "Environment" not in files.make_files(make_site())[1].text


@pytest.mark.parametrize("script", ["prolog.d/50-dacc", "epilog.d/50-dacc"])
@pytest.mark.parametrize("root", ["/mnt/bb", "/mnt/with blank", "/mnt/it's", "/mnt/$(id)`id`", "/mnt/@@{x}", "/mnt/ä"])
def test_the_mount_root_reaches_the_scripts(install: Install, config: Path, script: str, root: str) -> None:
    config.write_text(f"mount_root: {json.dumps(root)}\n")
    (line,) = re.findall(r"^ROOT=.*", shown(install)[script], re.MULTILINE)
    assert shlex.split(line) == [f"ROOT={root}"]
    assert shlex.split(line) == shlex.split(re.findall(r"^ROOT=.*", shown(install, "--mount-root", f"{root}/")[script], re.MULTILINE)[0])


def test_places_that_are_not_set_are_roots_whoever_asks(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("cluster: hal\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    found = read_site(str(config), "", "/etc/slurm")
    assert (found.mount_root, found.socket) == ("/mnt/dac", "")


def test_an_empty_configuration_is_noted(install: Install, config: Path) -> None:
    config.write_text("")
    done = install("--print")
    assert done.returncode == 0
    assert done.stderr == f"fakewarp install-slurm: {config} does not exist or is empty: the files have the defaults\n"


def test_the_environment_of_whoever_asks_changes_nothing(install: Install) -> None:
    there = {"DACC_SOCKET": "/tmp/s", "DACC_STATE_DIR": "relative", "DACC_CLUSTER": "x", "PYTHONPATH": "/nonexistent", "LC_ALL": "C"}
    assert install("--print", env=there).stdout == install("--print").stdout


def test_units_start_this_installations_daemon_with_the_configuration(install: Install, config: Path, tmp_path: Path) -> None:
    for name in ("systemd/dacd.service", "systemd/dacd-controller.service"):
        assert f"\nExecStart={BIN}/dacd --config {config}\n" in shown(install)[name]
    assert f"\nExecStart={BIN}/dacd --config {tmp_path}/dacc.yaml\n" in shown(install, "--config", "dacc.yaml")["systemd/dacd.service"]


def test_units_of_the_usual_configuration_name_none() -> None:
    assert [file.name for file in files.make_files(make_site()) if "--config" in file.text] == []


# --- systemd ---

HIDES_MOUNTS = re.compile(
    r"^(Private(?!Users)|Protect|Read|Inaccessible|Exec(Paths|Search)|NoExec|Bind|Temporary|Mount|Root|Dynamic|Network)", re.MULTILINE
)
UNITS = [name for name in NAMES if name.endswith(".service")]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_nothing_that_gives_it_mounts_of_its_own(install: Install, name: str) -> None:
    assert [line for line in shown(install)[name].splitlines() if HIDES_MOUNTS.match(line)] == []


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_leaves_processes_and_fences_alone_when_it_stops(install: Install, name: str) -> None:
    found = values(shown(install)[name])
    assert (found["KillMode"], found["RuntimeDirectory"], found["RuntimeDirectoryPreserve"]) == ("process", "dacc", "yes")


def test_the_controllers_unit_comes_before_slurmctld_and_without_the_other(install: Install) -> None:
    found = values(shown(install)["systemd/dacd-controller.service"])
    assert (found["Before"], found["Conflicts"]) == ("slurmctld.service", "dacd.service")


def test_systemd_accepts_the_units(install: Install, tmp_path: Path) -> None:
    require(Path("/usr/bin/systemd-analyze").exists(), "systemd-analyze(1): install systemd")
    install("--write", "out")
    units = [tmp_path / "out" / name for name in UNITS]
    done = subprocess.run(["/usr/bin/systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    # It also looks at the machine's own units; those are not ours to judge.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "dacd" in line] == []
    assert done.returncode == 0 or "dacd" not in done.stderr


# --- the package ---


def test_every_template_is_in_the_package_and_used() -> None:
    there = {entry.name for entry in resources.files("fakewarp.slurm").joinpath("templates").iterdir()}
    assert there == {template for template, _ in files.FILES.values()} | set(files.INCLUDED.values())


def test_no_hole_of_a_template_is_left_open(install: Install) -> None:
    assert "@@" not in install("--print").stdout


def test_the_guides_configuration_can_be_installed(install: Install, config: Path) -> None:
    guide = Path(__file__).parents[3] / "docs/guides/install.md"
    (example,) = re.findall(r"^```yaml config\n(.*?)^```", guide.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    config.write_text(example)
    assert values(shown(install)["burst_buffer.conf"])["OtherTimeout"] == f"{parse_text(example, str(config), {}).slurm.other_timeout:g}"


# --- Slurm's own calls stay what they are ---


@pytest.mark.parametrize(("program", "args"), [("dwstat", ["install-slurm"]), ("fakewarp", ["--function", "install-slurm"])])
def test_only_the_first_word_of_fakewarp_starts_the_installer(tmp_path: Path, program: str, args: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/s")
        listening.listen()

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1 << 16)
                peer.sendall(b'{"rc":7,"stdout":"dacd was asked"}\n')

        threading.Thread(target=answer, daemon=True).start()
        done = subprocess.run([BIN / program, *args], env={"DACC_SOCKET": f"{tmp_path}/s"}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (7, "dacd was asked")
