"""A certificate authority, a server's and clients' certificates, made by openssl(1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(directory: Path, name: str) -> None:
    """NAME.crt and NAME.key in the directory."""
    openssl(
        *("req", "-x509", *_CURVE, "-days", 2, "-subj", f"/CN={name}"),
        # Python 3.13 asks for what RFC 5280 does (VERIFY_X509_STRICT).
        *("-addext", "keyUsage=critical,keyCertSign"),
        *("-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt"),
    )


def issue(directory: Path, name: str, by: str, sans: str) -> None:
    """NAME.crt and NAME.key, signed by an authority, for names such as DNS:localhost."""
    request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName={sans}\nauthorityKeyIdentifier=keyid\n")
    openssl(
        *("req", *_CURVE, "-subj", f"/CN={name}", "-out", request),
        *("-keyout", directory / f"{name}.key.new"),
    )
    openssl(
        *("x509", "-req", "-in", request, "-days", 2, "-extfile", extensions),
        *("-CA", directory / f"{by}.crt", "-CAkey", directory / f"{by}.key", "-CAcreateserial"),
        *("-out", directory / f"{name}.crt.new"),
    )
    for kind in ("key", "crt"):
        (directory / f"{name}.{kind}.new").rename(directory / f"{name}.{kind}")
