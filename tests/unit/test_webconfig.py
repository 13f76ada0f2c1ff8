"""The web configuration file: what it may say, and the line that tells what is wrong."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from nsexporter.config.errors import ConfigError
from nsexporter.web import security, webconfig
from nsexporter.web.auth import BasicAuth, RateLimit

HASH = "$2y$04$VhnJpaVnxAE8Qg2GvD5JB.t.H6qnGwm8dMwTlz.r0Yq.hlmcNdCDu"


def load(directory: Path, text: str) -> webconfig.WebConfig:
    file = directory / "web.yaml"
    file.write_text(text)
    return webconfig.load(str(file))


def test_an_empty_file_asks_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "") == webconfig.WebConfig(None, (), {}, 0, 1)
    keys = "tls_server_config:\nhttp_server_config: {headers: }\nbasic_auth_users:\nrate_limit:\n"
    assert load(tmp_path, keys) == webconfig.WebConfig(None, (), {}, 0, 1)


def test_every_setting_of_a_file_is_read(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        f"""
tls_server_config:
  cert_file: server.crt
  key_file: /etc/server.key
  client_ca_file: clients.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example, 10.0.0.1]
  min_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers: {{X-Frame-Options: deny, Strict-Transport-Security: max-age=1}}
basic_auth_users:
  alice: {HASH}
rate_limit: {{interval: 1s, burst: 20}}
""",
    )
    assert loaded.tls is not None
    assert loaded.tls.files == (
        f"{tmp_path}/server.crt",
        "/etc/server.key",
        f"{tmp_path}/clients.crt",
    )
    assert loaded.tls.client_allowed_sans == ("prometheus.example", "10.0.0.1")
    assert (loaded.tls.min_version, loaded.tls.max_version) == ("TLS13", "TLS13")
    assert loaded.headers == (
        ("X-Frame-Options", "deny"),
        ("Strict-Transport-Security", "max-age=1"),
    )
    assert loaded.users == {"alice": HASH.encode()}
    assert (loaded.rate_interval, loaded.rate_burst) == (1, 20)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tls: {}", "tls: unknown key (known: tls_server_config, "),
        ("tls_server_config: {certfile: x}",
         "tls_server_config.certfile: unknown key (did you mean cert_file"),
        ("tls_server_config: {min_version: SSL3}",
         'tls_server_config.min_version: "SSL3" is not one of TLS10, TLS11, TLS12, TLS13'),
        ("tls_server_config: {client_auth_type: RequestClientCert}",
         'tls_server_config.client_auth_type: "RequestClientCert" is not one of NoClientCert,'),
        ("tls_server_config: {cipher_suites: [RC4]}", 'tls_server_config.cipher_suites: "RC4" is'),
        ("tls_server_config: {key: secret}", "tls_server_config.key: this is not a PEM text (try"),
        ("http_server_config: {headers: {Set-Cookie: x}}",
         "http_server_config.headers: these headers can be set: Content-Security-Policy,"),
        ("http_server_config: {headers: {X-Frame-Options: maybe}}",
         "http_server_config.headers: this is not a value for X-Frame-Options"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}',
         "http_server_config.headers: this is not a value for X-XSS-Protection"),
        ("basic_auth_users: {bob: secret}",
         "basic_auth_users: the password of bob is not a bcrypt hash of cost 4 to 16 (try"),
        ("basic_auth_users: [bob]", "basic_auth_users: this is not a mapping of users to bcrypt"),
        ("rate_limit: {interval: 1s, burst: 0}", "rate_limit.burst: 0 is not an integer of 1 or"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_without_secrets(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/web.yaml: {line}")
    assert told.isprintable() and "secret" not in told


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("cert_file: a", "a certificate and its key are needed (cert_file and key_file)"),
        ("cert_file: a, key_file: b", "the certificate and its key cannot be loaded: No such file"),
        ("cert_file: a, key_file: b, cert: &x '-----BEGIN X', key: *x",
         "a certificate or key is given twice"),
        ("cert_file: a, key_file: b, client_ca_file: c",
         "client_ca_file and client_auth_type go together"),
        ("cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert",
         "client_ca_file and client_auth_type go together"),
        ("cert_file: a, key_file: b, client_allowed_sans: [x]", "client_allowed_sans needs"),
        ("cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12",
         "min_version is above max_version"),
        ("cert_file: a, key_file: b, curve_preferences: [X25519, CurveP256]",
         "curve_preferences takes one curve"),
        ("cert: '-----BEGIN X', key: '-----BEGIN Y'",
         "the certificate and its key cannot be loaded: no pem (given as text)"),
        ("client_auth_type: RequireAndVerifyClientCert", "a certificate and its key are needed"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_one_line(tmp_path: Path, section: str, told: str) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(f"tls_server_config: {{{section}}}\n")
    with pytest.raises(ConfigError) as caught:
        security.Security(str(file))
    assert str(caught.value).startswith(f"{file}: tls_server_config: {told}")


def test_a_wrong_file_ends_the_exporter_with_status_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("tls_server_config: {cert_file: no.crt, key_file: no.key}\n")
    told = subprocess.run(
        [sys.executable, "-m", "nsexporter", f"--web.config.file={file}"],
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        f"nsexporter: {file}: tls_server_config: the certificate and its key cannot be loaded:"
        f" No such file or directory ({tmp_path}/no.crt, {tmp_path}/no.key)\n"
    )


def credentials(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


def test_a_password_is_verified_once_and_then_known() -> None:
    calls = []

    def checkpw(password: bytes, hashed: bytes) -> bool:
        calls.append((password, hashed))
        return password == b"right:one"

    users = BasicAuth({"alice": b"hash a", "bob": b"hash b"}, checkpw)
    right, wrong, nobody = map(
        credentials, (b"alice:right:one", b"alice:wrong", b"carol:right:one")
    )
    assert [users.knows(one) for one in (right, wrong, nobody)] == [None, None, None]
    assert [users.verify(one) for one in (right, wrong, nobody)] == [True, False, False]
    assert [users.knows(one) for one in (right, wrong, nobody)] == [True, False, False]
    # A user that there is not costs the same as one that there is.
    assert calls == [
        (b"right:one", b"hash a"),
        (b"wrong", b"hash a"),
        (b"right:one", b"hash a"),
    ]


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic YQ==", "Bearer YTpi", "basicYTpi"]
)
def test_a_malformed_header_is_denied_without_a_check(header: str) -> None:
    users = BasicAuth({"a": b""}, lambda password, hashed: pytest.fail("it was checked"))
    assert users.knows(header) is False
    assert users.verify(header) is False


def test_what_was_wrong_is_not_kept_without_bounds() -> None:
    users = BasicAuth({"a": b""}, lambda password, hashed: password == b"right")
    right = credentials(b"a:right")
    assert users.verify(right)
    first = credentials(b"a:0")
    for number in range(1500):
        users.verify(credentials(b"a:%d" % number))
    assert users.knows(first) is None
    assert users.knows(right) is True


def test_bcrypts_own_hashes_and_htpasswds_are_understood() -> None:
    import bcrypt

    made = BasicAuth({"a": bcrypt.hashpw(b"p", bcrypt.gensalt(4))}, bcrypt.checkpw)
    assert made.verify(credentials(b"a:p")) and not made.verify(credentials(b"a:q"))
    long = b"x" * 100
    cut = BasicAuth({"a": bcrypt.hashpw(long[:72], bcrypt.gensalt(4))}, bcrypt.checkpw)
    assert cut.verify(credentials(b"a:" + long))


def test_requests_come_at_once_up_to_the_burst_and_then_at_the_rate() -> None:
    now = 0.0
    rate = RateLimit(2.0, 3, clock=lambda: now)
    assert [rate.wait() for _ in range(5)] == [0, 0, 0, 2, 2]
    now = 1.5
    assert rate.wait() == 1
    now = 2.0
    assert [rate.wait() for _ in range(2)] == [0, 2]
    now = 1000.0
    assert [rate.wait() for _ in range(4)] == [0, 0, 0, 2]
