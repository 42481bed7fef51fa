"""Certificates for tests of TLS, made by openssl: a CA, one for servers on this machine, and one for a client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_SERVER = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
_CLIENT = "extendedKeyUsage=clientAuth\n"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files in a directory: ``ca``, ``server`` and ``client``, each a ``.pem`` with a ``.key``."""

    directory: Path

    def cert(self, name: str) -> Path:
        """A certificate."""
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its key."""
        return self.directory / f"{name}.key"

    def make(self, client: str = "dacc") -> Certificates:
        """Make all of them; the client's common name is ``client``."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._openssl(*f"req -x509 -days 2 -subj /CN=tests -out {self.cert('ca')}".split(), *self._new_key("ca"))
        self._sign("server", "localhost", _SERVER)
        self._sign("client", client, _CLIENT)
        return self

    def _sign(self, name: str, subject: str, extensions: str) -> None:
        request, more = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        more.write_text(extensions)
        self._openssl(*f"req -subj /CN={subject} -out {request}".split(), *self._new_key(name))
        ca = f"-CA {self.cert('ca')} -CAkey {self.key('ca')} -CAcreateserial"
        self._openssl(*f"x509 -req -days 2 -in {request} -out {self.cert(name)} -extfile {more} {ca}".split())

    def _new_key(self, name: str) -> list[str]:
        return f"-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {self.key(name)}".split()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
