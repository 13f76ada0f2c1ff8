"""What TLS is spoken with: exporter-toolkit's settings as OpenSSL has them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsexporter.web.connection import READ, WRITE, NotReadyError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
# Go's RequestClientCert and RequireAnyClientCert take certificates that nobody has verified: they
# look like protection and are none, so they are not offered.
CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CIPHERS = {
    **{
        f"TLS_ECDHE_{key}_WITH_{theirs}": f"ECDHE-{key}-{ours}"
        for key in ("ECDSA", "RSA")
        for theirs, ours in (
            ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
            ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
            ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
            ("AES_128_CBC_SHA", "AES128-SHA"),
            ("AES_256_CBC_SHA", "AES256-SHA"),
        )
    },
    **{name: name for name in _TLS13},  # always on, as in Go
}
"""Go's name of each cipher suite it offers to OpenSSL's."""
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1",
          "X25519": "X25519"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The section tls_server_config; paths absolute or relative to where we run."""

    cert: str | None
    key: str | None
    client_ca: str | None
    cert_file: str | None
    key_file: str | None
    client_ca_file: str | None
    client_auth_type: str
    client_allowed_sans: tuple[str, ...]
    min_version: str
    max_version: str
    cipher_suites: tuple[str, ...]
    prefer_server_cipher_suites: bool
    curve_preferences: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))


class TlsSocket(ssl.SSLSocket):
    """A client's, that does not block: what a call waits for is a NotReadyError."""

    context: Context

    def do_handshake(self, block: bool = False) -> None:
        """ssl.SSLError where the client's certificate has none of the names that are let in."""
        with _not_ready():
            super().do_handshake(block)
        allowed = self.context.allowed_sans
        if allowed and allowed.isdisjoint(_names(self)):
            raise ssl.SSLError("no name of the client's certificate is allowed")

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As socket.recv."""
        with _not_ready():
            return super().recv(buflen, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As socket.send."""
        with _not_ready():
            return super().send(data, flags)


class Context(ssl.SSLContext):
    """What TLS is spoken with, and the names of which a client's certificate has to have one."""

    sslsocket_class = TlsSocket
    allowed_sans: frozenset[str] = frozenset()

    def secure(self, client: socket.socket) -> TlsSocket:
        """A socket whose handshake is still to come."""
        secured = self.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        assert isinstance(secured, TlsSocket)
        return secured


@contextlib.contextmanager
def _not_ready() -> Iterator[None]:
    try:
        yield
    except ssl.SSLWantReadError:
        raise NotReadyError(READ) from None
    except ssl.SSLWantWriteError:
        raise NotReadyError(WRITE) from None


def context(tls: Tls) -> Context:
    """A server's context. ValueError says which settings do not fit, or which file is no good."""
    _fits(tls)
    made = Context(ssl.PROTOCOL_TLS_SERVER)
    made.allowed_sans = frozenset(tls.client_allowed_sans)
    made.minimum_version, made.maximum_version = (
        VERSIONS[tls.min_version],
        VERSIONS[tls.max_version],
    )
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    if not tls.prefer_server_cipher_suites:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    older = [CIPHERS[name] for name in tls.cipher_suites if name not in _TLS13]
    if older:
        made.set_ciphers(":".join(older))
    if tls.curve_preferences:
        made.set_ecdh_curve(CURVES[tls.curve_preferences[0]])
    with _file(tls.cert, tls.cert_file) as cert, _file(tls.key, tls.key_file) as key:
        assert cert is not None and key is not None
        with _explained(
            "the certificate and its key cannot be loaded", tls.cert_file, tls.key_file
        ):
            made.load_cert_chain(cert, key, password=lambda: b"")
    made.verify_mode = CLIENT_AUTH[tls.client_auth_type]
    with _file(tls.client_ca, tls.client_ca_file) as ca:
        if ca is not None:
            with _explained("the clients' CA cannot be loaded", tls.client_ca_file):
                made.load_verify_locations(ca)
    return made


def _fits(tls: Tls) -> None:
    given = (
        tls.cert and tls.cert_file,
        tls.key and tls.key_file,
        tls.client_ca and tls.client_ca_file,
    )
    if any(given):
        raise ValueError("a certificate or key is given twice (keep the text or the file)")
    if not (tls.cert or tls.cert_file) or not (tls.key or tls.key_file):
        raise ValueError("a certificate and its key are needed (cert_file and key_file)")
    verifies = tls.client_auth_type != "NoClientCert"
    if bool(tls.client_ca or tls.client_ca_file) != verifies:
        raise ValueError("client_ca_file and client_auth_type go together (set both or none)")
    if tls.client_allowed_sans and tls.client_auth_type != "RequireAndVerifyClientCert":
        raise ValueError("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert")
    if VERSIONS[tls.min_version] > VERSIONS[tls.max_version]:
        raise ValueError("min_version is above max_version")
    if len(tls.curve_preferences) > 1:
        raise ValueError("curve_preferences takes one curve (leave it out for OpenSSL's own)")


@contextlib.contextmanager
def _explained(what: str, *files: str | None) -> Iterator[None]:
    """A ValueError for what OpenSSL, or the reading of the files, does not like."""
    try:
        yield
    except OSError as error:
        reason = error.strerror
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "no PEM").replace("_", " ").lower()
        places = ", ".join(filter(None, files)) or "given as text"
        raise ValueError(f"{what}: {reason} ({places})") from None


@contextlib.contextmanager
def _file(text: str | None, file: str | None) -> Iterator[str | None]:
    """A path that OpenSSL can read the text or the file from."""
    if text is None:
        yield file
        return
    with os.fdopen(os.memfd_create("pem", os.MFD_CLOEXEC), "w+b") as memory:
        memory.write(text.encode())
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"


def _names(client: ssl.SSLSocket) -> set[str]:
    """The subject alternative names of a client's certificate, as Go writes them."""
    found = set()
    certificate = client.getpeercert() or {}
    for entry in certificate.get("subjectAltName", ()):
        text = str(entry[1])
        if entry[0] == "IP Address":
            with contextlib.suppress(ValueError):
                text = str(ipaddress.ip_address(text.strip()))
        found.add(text)
    return found
