"""Which keystore the file and the environment choose together, and what of etcd's settings cannot be meant."""

from __future__ import annotations

import pytest

from dacc_core.config import Config, parse_text
from dacc_core.errors import BadConfig

PLAIN = "keystore: {endpoints: [hal1:2379, hal2:2379]}"
PLACES = {"XDG_RUNTIME_DIR": "/run/user/1"}


def config(text: str = "", **environ: str) -> Config:
    return parse_text(text, "dacc.yaml", {**PLACES, **environ})


def the_problem(text: str = "", **environ: str) -> str:
    with pytest.raises(BadConfig) as caught:
        config(text, **environ)
    (line,) = str(caught.value).splitlines()
    return line


class TestWhichBackend:
    def test_without_endpoints_it_is_sqlite(self) -> None:
        assert config().keystore.backend == "sqlite"

    def test_endpoints_in_the_file_choose_etcd(self) -> None:
        assert config(PLAIN).keystore.backend == "etcd"

    def test_endpoints_in_the_environment_choose_etcd(self) -> None:
        keystore = config(ETCDCTL_ENDPOINTS="hal1:2379, https://[::1]:2379/").keystore
        assert (keystore.backend, keystore.endpoints) == ("etcd", ("hal1:2379", "https://[::1]:2379"))

    def test_the_environment_goes_before_the_file(self) -> None:
        assert config(PLAIN, ETCDCTL_ENDPOINTS="hal9:2379").keystore.endpoints == ("hal9:2379",)

    def test_sqlite_said_in_so_many_words_stays_when_the_environment_is_etcdctls(self) -> None:
        assert config("keystore: {backend: sqlite}", ETCDCTL_ENDPOINTS="hal1:2379").keystore.backend == "sqlite"

    def test_sqlite_with_endpoints_is_a_contradiction(self) -> None:
        assert "keystore.endpoints: are for etcd, but keystore.backend is sqlite" in the_problem(
            "keystore: {backend: sqlite, endpoints: [hal1:2379]}"
        )

    def test_etcd_without_endpoints_is_an_error_and_never_sqlite(self) -> None:
        assert "keystore.backend: etcd needs endpoints" in the_problem("keystore: {backend: etcd}")

    def test_the_file_of_an_sqlite_store_has_no_place_with_etcd(self) -> None:
        assert config(PLAIN).keystore.path == ""


class TestEnvironment:
    @pytest.mark.parametrize(
        ("ca", "cert", "key"),
        [("ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"), ("ETCDCTL_CA_FILE", "ETCDCTL_CERT_FILE", "ETCDCTL_KEY_FILE")],
        ids=["etcdctl's names", "data-acc's names"],
    )
    def test_certificates_are_named_as_for_etcdctl_or_data_acc(self, ca: str, cert: str, key: str) -> None:
        keystore = config(PLAIN, **{ca: "/ca.pem", cert: "/me.pem", key: "/me.key"}).keystore
        assert (keystore.cacert, keystore.cert, keystore.key) == ("/ca.pem", "/me.pem", "/me.key")

    def test_etcdctls_name_goes_before_data_accs(self) -> None:
        assert config(PLAIN, ETCDCTL_CACERT="/a", ETCDCTL_CA_FILE="/b").keystore.cacert == "/a"

    def test_the_user_is_shown_and_the_password_is_not(self) -> None:
        made = config(PLAIN, ETCDCTL_USER="dacc:se:cret")
        assert made.keystore.user == "dacc"
        assert "cret" not in repr(made)

    def test_certificates_without_endpoints_choose_nothing(self) -> None:
        assert config(ETCDCTL_CACERT="/ca.pem").keystore.backend == "sqlite"

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("ETCDCTL_ENDPOINTS", "hal1", "'hal1' is no endpoint"),
            ("ETCDCTL_ENDPOINTS", "ftp://hal1:1", "is no endpoint"),
            ("ETCDCTL_ENDPOINTS", "hal1:70000", "is no endpoint"),
            ("ETCDCTL_CACERT", "ca.pem", "must be an absolute path, not 'ca.pem'"),
        ],
    )
    def test_a_wrong_value_names_its_variable(self, name: str, value: str, words: str) -> None:
        line = the_problem(PLAIN, **{name: value})
        assert line.startswith(f"environment: {name}: ")
        assert words in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("endpoints: [http://a:1], cacert: /ca", "keystore.endpoints: http://a:1 is without TLS, but keystore.cacert is set"),
        ("endpoints: [http://a:1, https://b:1]", "keystore.endpoints: some are without TLS (http://a:1), some with (https://b:1)"),
        ("endpoints: [https://a:1], cert: /c", "keystore.cert: is of no use without keystore.key"),
        ("endpoints: [https://a:1], key: /k", "keystore.key: is of no use without keystore.cert"),
        ("endpoints: [a:1], user: dacc", "keystore.user: needs a password: set keystore.password_file"),
        ("endpoints: [a:1], password_file: /p", "keystore.password_file: is of no use without keystore.user"),
    ],
)
def test_settings_that_contradict_each_other_are_reported(settings: str, words: str) -> None:
    assert words in the_problem(f"keystore: {{{settings}}}")


def test_a_user_with_a_password_in_the_environment_needs_no_file() -> None:
    assert config(PLAIN, ETCDCTL_USER="dacc:secret").keystore.user == "dacc"
