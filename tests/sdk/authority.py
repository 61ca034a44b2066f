"""A certificate authority of the test's own, as a bank has one, made by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_AUTHORITY = """\
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_MEMBER = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1
"""


class Authority:
    """Issues certificates in a folder.

    Attributes:
        certificate: PEM file of the authority itself.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = folder / f"{name}.key"
        self.certificate = folder / f"{name}.pem"
        self._request(name, self._key)
        self._sign(name, _AUTHORITY, "-signkey", str(self._key))

    def issue(self, name: str) -> Path:
        """A PEM file with a certificate for 127.0.0.1, and its key."""
        key = self._folder / f"{name}.key"
        self._request(name, key)
        self._sign(name, _MEMBER, "-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")
        issued = self._folder / f"{name}.pem"
        issued.write_bytes(issued.read_bytes() + key.read_bytes())
        return issued

    def encrypt(self, name: str) -> Path:
        """As `issue`, with a password on the key."""
        issued = self.issue(name)
        key = self._folder / f"{name}.key"
        certificate = issued.read_text().partition("-----BEGIN PRIVATE KEY")[0]
        encrypted = _openssl("pkcs8", "-topk8", "-in", str(key), "-passout", "pass:secret")
        issued.write_text(certificate + encrypted)
        return issued

    def serve(self, certificate: Path, *, ask_clients: bool = False) -> ssl.SSLContext:
        """What a server with that certificate uses; with ``ask_clients``, it takes only clients of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if ask_clients:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _request(self, name: str, key: Path) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        request = str(self._folder / f"{name}.csr")
        _openssl("req", "-new", *curve, "-keyout", str(key), "-out", request, "-subj", f"/CN={name}")

    def _sign(self, name: str, extensions: str, *signer: str) -> None:
        described = self._folder / f"{name}.ext"
        described.write_text(extensions)
        files = ("-in", str(self._folder / f"{name}.csr"), "-out", str(self._folder / f"{name}.pem"))
        _openssl("x509", "-req", *files, *signer, "-extfile", str(described), "-days", "2")


def _openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout
