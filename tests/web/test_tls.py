"""TLS, passwords and client certificates, asked by curl, openssl s_client and Prometheus."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from nsexporter.web.connection import Limits
from nsexporter.web.security import Security
from tests.conftest import Need
from tests.live.exporter import Exporter, running
from tests.waiting import until
from tests.web import certificates
from tests.web.webserver import rest, serving

SERVER = "tls_server_config: {cert_file: server.crt, key_file: server.key"
CLIENTS = f"{SERVER}, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Path:
    """An authority; server, client and stranger with certificates of it or of another one."""
    for program in ("openssl", "curl"):
        need("live", shutil.which(program) is not None, f"{program} is not installed")
    directory = tmp_path_factory.mktemp("pki")
    for name in ("ca", "other"):
        certificates.authority(directory, name)
    certificates.issue(directory, "server", "ca", "DNS:localhost,IP:127.0.0.1")
    certificates.issue(directory, "client", "ca", "DNS:prometheus.example,IP:2001:DB8::1")
    certificates.issue(directory, "stranger", "other", "DNS:prometheus.example")
    return directory


def web_file(pki: Path, text: str) -> Path:
    file = pki / "web.yaml"
    file.write_text(text + "\n")
    return file


@contextmanager
def exporting(pki: Path, text: str, *flags: str) -> Iterator[Exporter]:
    with running(f"--web.config.file={web_file(pki, text)}", *flags) as exporter:
        yield exporter


def curl(exporter: Exporter, pki: Path, *arguments: object) -> tuple[int, str]:
    """Exit status and status code, or what curl says."""
    told = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--output", "/dev/null", "--max-time", "20"),
            *("--cacert", pki / "ca.crt", "--write-out", "%{http_code} %{ssl_verify_result}"),
            *(*map(str, arguments), f"https://localhost:{exporter.port}/metrics"),
        ],
        capture_output=True,
        text=True,
    )
    return told.returncode, told.stdout


def identity(pki: Path, name: str) -> tuple[object, ...]:
    return ("--cert", pki / f"{name}.crt", "--key", pki / f"{name}.key")


def test_curl_verifies_the_server_and_speaks_only_what_is_allowed(pki: Path) -> None:
    with exporting(pki, SERVER + ", min_version: TLS12}") as exporter:
        assert curl(exporter, pki) == (0, "200 0")
        assert curl(exporter, pki, "--http2") == (0, "200 0")
        assert curl(exporter, pki, "--tlsv1.2", "--tls-max", "1.2") == (0, "200 0")
        status, _ = curl(
            exporter, pki, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "ALL@SECLEVEL=0"
        )
        assert status == 35
        plain = socket.create_connection(("127.0.0.1", exporter.port), timeout=20)
        with plain:
            plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"nsexporter" not in rest(plain)


def test_a_cipher_suite_is_the_one_that_is_set(pki: Path) -> None:
    text = (
        SERVER
        + ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]}"
    )
    with exporting(pki, text) as exporter:
        told = subprocess.run(
            ["openssl", "s_client", "-connect", f"localhost:{exporter.port}"],
            input="GET /-/healthy HTTP/1.0\n\n",
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305" in told.stdout
        assert "Secure Renegotiation IS supported" in told.stdout


def test_openssl_cannot_renegotiate(pki: Path) -> None:
    """Each would cost us a handshake at the price of a line."""
    with exporting(pki, SERVER + ", max_version: TLS12}") as exporter:
        told = subprocess.run(
            ["openssl", "s_client", "-connect", f"localhost:{exporter.port}"],
            input="R\n",
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "no renegotiation" in told.stderr


def test_certificates_and_keys_may_stand_in_the_file(pki: Path) -> None:
    inline = {
        name: (pki / f"server.{kind}").read_text()
        for name, kind in (("cert", "crt"), ("key", "key"))
    }
    with exporting(pki, json.dumps({"tls_server_config": inline})) as exporter:
        assert curl(exporter, pki) == (0, "200 0")


def test_only_clients_with_a_certificate_of_the_authority_are_let_in(pki: Path) -> None:
    with exporting(pki, CLIENTS + "}") as exporter:
        assert curl(exporter, pki, *identity(pki, "client")) == (0, "200 0")
        assert curl(exporter, pki)[0] in (35, 55, 56)
        assert curl(exporter, pki, *identity(pki, "stranger"))[0] in (35, 55, 56)


@pytest.mark.parametrize(
    ("sans", "right"),
    [("[prometheus.example]", True), ("['2001:db8::1']", True), ("[other.example]", False)],
)
def test_only_clients_of_the_allowed_names_are_let_in(pki: Path, sans: str, right: bool) -> None:
    with exporting(pki, f"{CLIENTS}, client_allowed_sans: {sans}}}") as exporter:
        assert (curl(exporter, pki, *identity(pki, "client")) == (0, "200 0")) is right


def users(**passwords: str) -> str:
    hashes = {
        name: bcrypt.hashpw(text.encode(), bcrypt.gensalt(4)).decode()
        for name, text in passwords.items()
    }
    return f"basic_auth_users: {json.dumps(hashes)}"


def test_only_users_with_their_password_are_let_in(pki: Path) -> None:
    with exporting(pki, f"{SERVER}}}\n{users(alice='s:ecret', bob='b')}") as exporter:
        assert curl(exporter, pki, "--user", "alice:s:ecret") == (0, "200 0")
        assert curl(exporter, pki, "--user", "bob:b") == (0, "200 0")
        assert curl(exporter, pki) == (0, "401 0")
        assert curl(exporter, pki, "--user", "alice:b") == (0, "401 0")
        assert curl(exporter, pki, "--user", "carol:s:ecret") == (0, "401 0")
        started = time.monotonic()
        assert curl(exporter, pki, "--user", "alice:b") == (0, "401 0")
        assert time.monotonic() - started >= 1, "guessing is slow"


def test_guessing_does_not_keep_the_right_password_out(pki: Path) -> None:
    """With hashes that take a while, and more guessers than there are connections."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(11)).decode()
    file = web_file(pki, f"basic_auth_users: {{a: '{hashed}'}}")
    with serving(Limits(connections=20), Security(str(file))) as site:
        ask = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\n\r\n"
        known = site.connect(ask.format("YTpyaWdodA==").encode())  # a:right
        assert known.recv(65536).startswith(b"HTTP/1.1 200")
        guesses = [site.connect(ask.format(f"YTp4{number:04}").encode()) for number in range(60)]
        for _ in range(3):
            started = time.monotonic()
            known.sendall(ask.format("YTpyaWdodA==").encode())
            assert known.recv(65536).startswith(b"HTTP/1.1 200")
            assert time.monotonic() - started < 5
        assert len(guesses) == 60


def test_requests_beyond_the_rate_are_told_when_to_come_again(pki: Path) -> None:
    file = web_file(pki, "rate_limit: {interval: 1h, burst: 2}")
    with serving(Limits(), Security(str(file))) as site:
        assert [site.get()[0] for _ in range(3)] == [200, 200, 429]


def test_a_request_whose_password_is_checked_counts_once_for_the_rate(pki: Path) -> None:
    file = web_file(pki, f"{users(a='right')}\nrate_limit: {{interval: 1h, burst: 2}}")
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpyaWdodA==\r\n\r\n"
    with serving(Limits(), Security(str(file))) as site:
        client = site.connect()
        told = []
        for _ in range(3):
            client.sendall(ask)
            told.append(client.recv(65536).split()[1])
    assert told == [b"200", b"200", b"429"]


def test_headers_are_those_of_the_file(pki: Path) -> None:
    policy = "Content-Security-Policy: default-src 'none'"
    text = f"http_server_config: {{headers: {{X-Frame-Options: deny, {policy}}}}}"
    with exporting(pki, text) as exporter:
        headers = exporter.get("/-/healthy")[1]
    assert headers["x-frame-options"] == "deny"
    assert headers["content-security-policy"] == "default-src 'none'"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_new_certificate_and_a_new_password_are_used_without_a_restart(
    pki: Path, tmp_path: Path
) -> None:
    for name in ("ca.crt", "ca.key", "server.crt", "server.key"):
        shutil.copy(pki / name, tmp_path)
    with exporting(
        tmp_path, f"{SERVER}}}\n{users(a='old')}", "--collection.max-age=1m"
    ) as exporter:
        assert curl(exporter, tmp_path, "--user", "a:old") == (0, "200 0")
        web_file(tmp_path, f"{SERVER}}}\n{users(a='new')}")
        until(lambda: curl(exporter, tmp_path, "--user", "a:new") == (0, "200 0"))
        assert curl(exporter, tmp_path, "--user", "a:old") == (0, "401 0")
        web_file(tmp_path, "tls_server_config: {cert_file: nothing.crt, key_file: server.key}")

        def metric() -> str:
            told = subprocess.run(
                ["curl", "-s", "--cacert", tmp_path / "ca.crt", "--user", "a:new",
                 f"https://localhost:{exporter.port}/metrics"],
                capture_output=True, text=True,
            )  # fmt: skip
            return told.stdout

        until(lambda: "nsexporter_web_config_last_reload_successful 0\n" in metric())
        web_file(tmp_path, f"{SERVER}}}\n{users(a='new')}")
        until(lambda: "nsexporter_web_config_last_reload_successful 1\n" in metric())

        def serial() -> str:
            return ssl.get_server_certificate(("127.0.0.1", exporter.port))

        before = serial()
        certificates.issue(tmp_path, "server", "ca", "DNS:localhost")
        until(lambda: serial() != before)
        assert curl(exporter, tmp_path, "--user", "a:new") == (0, "200 0")


def test_a_certificate_that_comes_after_the_file_that_names_it_is_used(pki: Path) -> None:
    file = web_file(pki, "")
    with serving(Limits(), Security(str(file))) as site:
        web_file(pki, "tls_server_config: {cert_file: later.crt, key_file: server.key}")
        security = site.server._security
        until(lambda: site.get()[0] == 200 and not security.reload_success)
        shutil.copy(pki / "server.crt", pki / "later.crt")
        trusted = ssl.create_default_context(cafile=str(pki / "ca.crt"))

        def encrypted() -> bool:
            try:
                return site.get(tls=trusted) == (200, b"a 1\n")
            except ssl.SSLError:
                return False

        until(encrypted)
        assert security.reload_success


def test_idle_tls_clients_stall_nobody(pki: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    file = web_file(pki, SERVER + "}")
    with serving(Limits(connections=50), Security(str(file))) as site:
        idle = [site.connect() for _ in range(40)]
        idle += [site.connect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") for _ in range(40)]
        for _ in range(5):
            assert site.get(tls=trusted) == (200, b"a 1\n")
        assert len(idle) == 80


def test_slow_tls_readers_are_sent_everything_in_the_end(pki: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    file = web_file(pki, SERVER + "}")
    with serving(Limits(), Security(str(file))) as site:
        site.application.body = b"0123456789abcdef" * (1 << 19)
        assert site.get(tls=trusted) == (200, site.application.body)


def test_prometheus_scrapes_over_tls_with_password_and_client_certificate(
    pki: Path, tmp_path: Path, need: Need
) -> None:
    prometheus = shutil.which("prometheus")
    need("live", prometheus is not None, "prometheus is not installed")
    assert prometheus is not None
    text = f"{CLIENTS}, client_allowed_sans: [prometheus.example]}}\n{users(alice='secret')}"
    with exporting(pki, text) as exporter, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        job = {
            "scheme": "https",
            "tls_config": {
                "ca_file": str(pki / "ca.crt"),
                "cert_file": str(pki / "client.crt"),
                "key_file": str(pki / "client.key"),
            },
            "static_configs": [{"targets": [f"localhost:{exporter.port}"]}],
        }
        right = {"job_name": "right", "basic_auth": {"username": "alice", "password": "secret"}}
        wrong = {"job_name": "wrong", "basic_auth": {"username": "alice", "password": "wrong"}}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [right | job, wrong | job],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        command = [
            *(prometheus, f"--config.file={tmp_path}/prometheus.yml"),
            *(f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"),
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                query = urllib.parse.quote('nsexporter_up{job="right"} or up{job="wrong"}')

                def answers() -> dict[str, str]:
                    try:
                        with urllib.request.urlopen(
                            f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=10
                        ) as told:
                            result = json.load(told)["data"]["result"]
                    except OSError:
                        return {}
                    return {one["metric"]["job"]: one["value"][1] for one in result}

                until(lambda: answers() == {"right": "1", "wrong": "0"}, 60)
            finally:
                process.kill()
