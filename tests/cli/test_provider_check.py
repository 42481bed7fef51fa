"""`dacc provider check`: the conformance checks on the hosts of the configuration, on nobody else's bricks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dacc_core.cli.main import main
from dacc_core.config import load
from dacc_core.keystore.base import PutKey
from dacc_core.keystore.open import open_store
from dacc_core.registry import keys
from dacc_core.registry.records import Allocations

from ..plugins.conftest import Install, install, provider  # noqa: F401 - a fixture

CONFIG = """
state_dir: {here}/state
mount_root: {here}/mnt
pools:
  default: {{granularity: 16MiB, provider: fake}}
  toys: {{granularity: 16MiB, provider: toy}}
bricks:
  h1: [{{device: {here}/b1}}]
  h2: [{{device: {here}/b2}}]
providers:
  fake: {{backing: directory}}
"""


LEAKY = """def create(self, request):
        from dacc_core.sdk import Created
        brick = request.volume.bricks[0]
        request.context.run([brick.host], ("mkdir", "-p", f"{brick.device}/{request.volume.name}"))
        return Created()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with two brick hosts on this machine, which has never had a daemon."""
    for name in ("b1", "b2"):
        (tmp_path / name).mkdir()
    (tmp_path / "dacc.yaml").write_text(CONFIG.format(here=tmp_path))
    monkeypatch.setenv("DACC_CONFIG", str(tmp_path / "dacc.yaml"))
    return tmp_path


def check(*words: str) -> Result:
    return CliRunner().invoke(main, ["provider", "check", *words])


def refusal(*words: str) -> tuple[int, str]:
    """The exit code and the one line of a refusal."""
    result = check(*words)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    (line,) = result.stderr.splitlines()
    return result.exit_code, line


def states(result: Result) -> set[str]:
    """How the checks ended."""
    return {line[:13].strip() for line in result.stdout.splitlines() if ": " in line[13:]}


def remember(here: Path, **held: object) -> None:
    """Note in the store who has the bricks of host h1."""
    store = open_store(load(), create=True)
    try:
        assert store.txn((), (PutKey(keys.key("allocations", "h1"), keys.encode(Allocations(**held))),)).ok  # type: ignore[arg-type]
    finally:
        store.close()


def test_without_permission_only_checks_that_change_nothing_are_made(here: Path) -> None:
    result = check("fake")
    assert result.exit_code == 0, result.output
    groups = {line[14:].split(":")[0] for line in result.stdout.splitlines() if line.startswith("ok ")}
    assert groups == {"metadata", "settings", "host check"}
    assert result.stdout.splitlines()[-1].startswith("made were only checks that change nothing; with --destructive --hosts all are made")
    assert not (here / "mnt").exists()
    assert not [*(here / "b1").iterdir(), *(here / "b2").iterdir()]


def test_the_checks_use_the_sites_own_bricks(here: Path) -> None:
    (here / "b1").rmdir()
    (here / "b1").touch()
    result = check("fake")
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("FAILED        host check: a fit host passes"))
    assert f"{here}/b1" in line


@pytest.mark.long
def test_all_checks_are_made_on_bricks_that_are_named_and_nothing_is_left(here: Path) -> None:
    remember(here, draining=True)
    result = check("fake", "--destructive", "--hosts", "h[1-2]", "--mount-on", "h1", "--repeat", "2")
    assert result.exit_code == 0, result.output
    assert states(result) == {"ok", "not declared", "not possible"}
    assert result.stdout.count("\nok ") > 70
    assert not [*(here / "b1").iterdir(), *(here / "b2").iterdir(), *(here / "mnt" / "dacc-check").iterdir()]


def test_a_breach_is_told_and_ends_with_1(install: Install, here: Path) -> None:  # noqa: F811
    (here / "dacc.yaml").write_text(CONFIG.format(here=here).replace(f"device: {here}/b1", f"device: {here}/b1, pool: toys"))
    install(provider(extra="def mount(self, request): return None"))
    result = check("toy", "--destructive", "--hosts", "h1", "--repeat", "2", "--junit", str(here / "out.xml"))
    assert result.exit_code == 1
    assert "FAILED        create: " in result.stdout
    assert int(ET.parse(here / "out.xml").getroot()[0].attrib["failures"]) == result.stdout.count("\nFAILED ") + result.stdout.count(
        "\nnot reached "
    )


def test_hosts_must_be_named_for_checks_that_ruin_data() -> None:
    assert refusal("fake", "--destructive") == (
        10,
        "dacc: --destructive ruins what is on the bricks: name their hosts with --hosts",
    )


def test_a_host_without_a_brick_of_the_provider_is_refused() -> None:
    code, line = refusal("fake", "--hosts", "h[2-3]")
    assert (code, line) == (10, "dacc: h3 has no brick in a pool of provider fake: see bricks and pools in the configuration")


def test_a_brick_that_a_session_has_is_refused(here: Path) -> None:
    remember(here, taken={f"{here}/b1": "a0010001"}, draining=True)
    code, line = refusal("fake", "--destructive", "--hosts", "h[1-2]")
    assert line == f"dacc: brick h1:{here}/b1 belongs to volume a0010001: check other hosts, or wait until it is free"
    assert code != 0


def test_a_brick_in_quarantine_is_refused(here: Path) -> None:
    remember(here, quarantined={f"{here}/b1": "its wipe failed"}, draining=True)
    _, line = refusal("fake", "--destructive", "--hosts", "h1")
    assert line == f"dacc: brick h1:{here}/b1 is in quarantine (its wipe failed): see dacc hosts, then dacc release"


def test_a_host_that_could_get_a_session_meanwhile_is_refused(here: Path) -> None:
    remember(here)
    _, line = refusal("fake", "--destructive", "--hosts", "h1")
    assert line == "dacc: host h1 takes new sessions, which could get its bricks meanwhile: dacc drain h1 first"


def test_what_is_left_behind_is_told_and_swept(install: Install, here: Path) -> None:  # noqa: F811
    (here / "dacc.yaml").write_text(CONFIG.format(here=here).replace(f"device: {here}/b1", f"device: {here}/b1, pool: toys"))
    install(provider().replace("def create(self, request): ...", LEAKY))
    told = check("toy", "--destructive", "--hosts", "h1", "--repeat", "1")
    assert "\nleft behind   file " in told.stdout, told.output
    assert list((here / "b1").iterdir())
    swept = check("toy", "--destructive", "--hosts", "h1", "--repeat", "1", "--sweep")
    assert "\nswept         file " in swept.stdout
    assert not list((here / "b1").iterdir())


def test_an_import_that_hangs_is_found(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("dacc_core.plugins.loading.PROBE_SECONDS", 1.0)
    module = install("import time\ntime.sleep(600)\n")
    code, line = refusal("toy")
    assert code == 81
    assert line.startswith("dacc: provider toy cannot load: entry point `toy = ")
    assert "its import did not end within 1 s (it hangs at " in line
    assert f"{module}.py:2); report it to the authors of dacc-provider-toy" in line


@pytest.mark.parametrize(("ending", "how"), [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 11)", "signal 11")])
def test_an_import_that_ends_the_interpreter_is_found(install: Install, ending: str, how: str) -> None:  # noqa: F811
    install(f"import os\n{ending}\n")
    code, line = refusal("toy")
    assert code == 81
    assert f"its import ended the interpreter with {how}; report it to the authors of dacc-provider-toy" in line


def test_a_name_that_no_package_offers_is_refused() -> None:
    code, line = refusal("nope")
    assert (code, "provider 'nope' is not installed" in line) == (25, True)
