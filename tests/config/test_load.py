"""Where the configuration comes from, and what fills in what it leaves open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dacc_core.config import load, make_runtime_dir, parse_text, places
from dacc_core.errors import BadConfig

HOST = socket.gethostname().partition(".")[0]


@pytest.fixture(autouse=True)
def no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "dacc.yaml"
    monkeypatch.setattr(places, "SYSTEM_FILE", str(path))
    return path


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    return {"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/4242"}


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return {"HOME": "/root"}


def written(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


class TestWhichFile:
    def test_dacc_config_names_the_file(self, tmp_path: Path) -> None:
        assert load({"DACC_CONFIG": written(tmp_path / "a", "cluster: a")}).cluster == "a"

    def test_an_explicit_path_goes_before_dacc_config(self, tmp_path: Path) -> None:
        one, other = written(tmp_path / "a", "cluster: a"), written(tmp_path / "b", "cluster: b")
        assert load({"DACC_CONFIG": one}, other).cluster == "b"

    def test_the_systems_file_is_read_when_none_is_named(self, no_system_file: Path) -> None:
        written(no_system_file, "cluster: system")
        assert load({"DACC_CONFIG": ""}).cluster == "system"

    def test_a_named_file_that_does_not_exist_is_an_error(self) -> None:
        with pytest.raises(BadConfig, match="/no/file: does not exist"):
            load({"DACC_CONFIG": "/no/file"})

    def test_a_directory_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(BadConfig, match="cannot be read: Is a directory"):
            load({"DACC_CONFIG": str(tmp_path)})

    def test_a_system_file_that_may_not_be_read_is_an_error_and_never_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_text", refuse)
        with pytest.raises(BadConfig, match="cannot be read: Permission denied"):
            load({})

    def test_a_file_that_is_not_utf8_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"cluster: \xff")
        with pytest.raises(BadConfig, match="is not UTF-8"):
            load({"DACC_CONFIG": str(path)})


class TestWithoutAFile:
    def test_there_is_one_pool_of_directories_on_this_host(self, as_user: dict[str, str]) -> None:
        config = load(as_user)
        assert config.pools["default"].provider == "fake"
        assert [brick.device for brick in config.bricks_of(HOST)] == [f"/home/ada/.local/state/dacc/bricks/b{n}" for n in range(4)]

    def test_its_bricks_follow_the_state_directory(self, as_user: dict[str, str]) -> None:
        config = load({**as_user, "DACC_STATE_DIR": "/srv/dacc"})
        assert config.bricks_of(HOST)[3].device == "/srv/dacc/bricks/b3"


class TestPlaces:
    def test_root_has_the_systems_places(self, as_root: dict[str, str]) -> None:
        config = load(as_root)
        assert (config.state_dir, config.socket, config.mount_root) == ("/var/lib/dacc", "/run/dacc/dacd.sock", "/mnt/dac")
        assert (config.hosts.fence_dir, config.mover_root) == ("/run/dacc/fence", "/run/dacc/movers")
        assert config.keystore.path == "/var/lib/dacc/store.db"

    def test_a_user_has_places_of_his_own(self, as_user: dict[str, str]) -> None:
        config = load(as_user)
        assert config.state_dir == "/home/ada/.local/state/dacc"
        assert config.socket == "/run/user/4242/dacc/dacd.sock"
        assert config.mount_root == "/home/ada/.local/state/dacc/mnt"

    def test_xdg_state_home_moves_a_users_state(self, as_user: dict[str, str]) -> None:
        assert load({**as_user, "XDG_STATE_HOME": "/data/ada/"}).state_dir == "/data/ada/dacc"

    def test_a_relative_xdg_directory_counts_as_unset(self, as_user: dict[str, str]) -> None:
        assert load({**as_user, "XDG_STATE_HOME": "state"}).state_dir == "/home/ada/.local/state/dacc"

    def test_a_user_without_a_runtime_directory_gets_one_below_tmp(self, as_user: dict[str, str]) -> None:
        assert load({"HOME": "/home/ada"}).socket == "/tmp/dacc-4242/dacd.sock"

    def test_slurm_user_comes_to_the_same_places_as_root_by_the_systems_file(self, as_user: dict[str, str], no_system_file: Path) -> None:
        written(no_system_file, "cluster: a")
        assert load(as_user).state_dir == "/var/lib/dacc"
        assert load(as_user).mount_root == "/mnt/dac"

    def test_the_file_goes_before_the_default_places(self, as_user: dict[str, str]) -> None:
        text = "state_dir: /s/\nsocket: /x\nmount_root: /m\nmover_root: /v\nkeystore: {path: /k}\nhosts: {fence_dir: /f}"
        config = parse_text(text, "x", as_user)
        assert (config.state_dir, config.socket, config.mount_root, config.mover_root) == ("/s", "/x", "/m", "/v")
        assert (config.keystore.path, config.hosts.fence_dir) == ("/k", "/f")


class TestEnvironment:
    def test_it_goes_before_the_file(self, as_user: dict[str, str]) -> None:
        environ = {**as_user, "DACC_STATE_DIR": "/a", "DACC_SOCKET": "/b", "DACC_CLUSTER": "c"}
        config = parse_text("state_dir: /x\nsocket: /y\ncluster: z", "x", environ)
        assert (config.state_dir, config.socket, config.cluster) == ("/a", "/b", "c")

    def test_the_address_of_the_metrics_goes_before_the_files(self, as_user: dict[str, str]) -> None:
        text = "metrics: {listen: '127.0.0.1:1'}"
        assert parse_text(text, "x", {**as_user, "DACC_METRICS": "[::1]:9753"}).metrics.listen == "[::1]:9753"
        assert parse_text(text, "x", as_user).metrics.listen == "127.0.0.1:1"

    def test_an_address_that_is_none_is_reported(self, as_user: dict[str, str]) -> None:
        with pytest.raises(BadConfig, match=r"environment: DACC_METRICS: 'here': write an address and a port"):
            parse_text("", "x", {**as_user, "DACC_METRICS": "here"})

    def test_an_empty_variable_counts_as_unset(self, as_user: dict[str, str]) -> None:
        assert parse_text("socket: /y", "x", {**as_user, "DACC_SOCKET": ""}).socket == "/y"

    def test_a_relative_path_is_reported_after_the_files_problems(self, as_user: dict[str, str]) -> None:
        with pytest.raises(BadConfig) as caught:
            parse_text("colour: red", "x", {**as_user, "DACC_SOCKET": "here"})
        assert str(caught.value).splitlines()[1] == "environment: DACC_SOCKET: must be an absolute path, not 'here'"


class TestRuntimeDirectoryBelowTmp:
    def test_one_that_others_may_enter_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        assert "with mode 0700" in places.runtime_problem(str(tmp_path), os.getuid())

    def test_one_of_another_user_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        assert places.runtime_problem(str(tmp_path), os.getuid() + 1)

    def test_a_symbolic_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        assert places.runtime_problem(str(tmp_path / "link"), os.getuid())

    def test_a_private_one_is_used(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        assert not places.runtime_problem(str(tmp_path), os.getuid())

    def test_one_that_does_not_exist_is_no_problem(self, tmp_path: Path) -> None:
        assert not places.runtime_problem(str(tmp_path / "none"), os.getuid())

    def test_loading_reports_it(self, as_user: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(places, "runtime_problem", lambda directory, uid: f"{directory} is not {uid}'s")
        with pytest.raises(BadConfig, match="/tmp/dacc-4242 is not 4242's"):
            load({"HOME": "/home/ada"})

    def test_the_users_one_is_made_for_that_user_alone(
        self, as_user: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "runtime_problem", lambda *_: "")
        make_runtime_dir(load({**as_user, "XDG_RUNTIME_DIR": str(tmp_path / "run")}))
        assert (tmp_path / "run" / "dacc").stat().st_mode & 0o777 == 0o700

    def test_one_that_turns_out_to_be_another_users_stops_the_daemon(self, as_user: dict[str, str], tmp_path: Path) -> None:
        config = load({**as_user, "XDG_RUNTIME_DIR": str(tmp_path)})
        with pytest.raises(BadConfig, match="is not a directory of uid 4242"):
            make_runtime_dir(config)


class TestBricks:
    TEXT = """
default_pool: small
pools:
  small: {granularity: 1000, provider: fake}
  big: {granularity: 5000, provider: fake}
bricks:
  dac[1-2]:
    - device: /dev/a
    - {device: /dev/b, pool: big, capacity: 6000}
  dac2: [{device: /dev/c}]
"""

    def test_a_brick_has_the_default_pool_and_its_granularity(self) -> None:
        brick = parse_text(self.TEXT, "x", {}).bricks_of("dac1")[0]
        assert (brick.device, brick.pool, brick.capacity) == ("/dev/a", "small", 1000)

    def test_a_brick_keeps_what_the_file_says(self) -> None:
        brick = parse_text(self.TEXT, "x", {}).bricks_of("dac1")[1]
        assert (brick.pool, brick.capacity) == ("big", 6000)

    def test_a_host_has_the_bricks_of_every_pattern_that_names_it(self) -> None:
        assert [brick.device for brick in parse_text(self.TEXT, "x", {}).bricks_of("dac2")] == ["/dev/a", "/dev/b", "/dev/c"]

    def test_a_host_that_no_pattern_names_has_none(self) -> None:
        assert parse_text(self.TEXT, "x", {}).bricks_of("dac3") == ()

    def test_a_size_may_have_a_unit(self) -> None:
        config = parse_text("pools: {default: {granularity: 1400GiB, provider: fake}}", "x", {})
        assert config.pools["default"].granularity == 1400 << 30


def test_a_settings_place_is_known_for_later_messages() -> None:
    config = parse_text("providers:\n  fake:\n    a: 1\n", "dacc.yaml", {})
    assert config.position("providers", "fake", "a") == "dacc.yaml:3:8"
