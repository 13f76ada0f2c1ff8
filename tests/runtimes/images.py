"""Images made of busybox-static, and bundles of them: no registry is asked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

IMAGE = "localhost/box:1"
APPLETS = ("sh", "sleep", "cat", "true", "head", "tail", "dd", "hostname", "ls", "id")


def root_tar(file: Path) -> Path:
    """A root file system of busybox as a tar archive."""
    with tarfile.open(file, "w") as archive:
        for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        archive.add("/bin/busybox", "bin/busybox")
        for name in APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
        content = b"root:x:0:0:root:/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file


def unpack(archive: Path, directory: Path) -> None:
    """The archive's files in a new directory."""
    directory.mkdir(parents=True)
    subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)


def oci_archive(file: Path, root: Path, name: str, *entrypoint: str) -> Path:
    """An image of one layer, the tar `root`, as an archive in OCI's layout."""
    with tarfile.open(file, "w") as archive:

        def add(path: str, content: bytes) -> None:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        def blob(content: bytes, kind: str) -> dict[str, Any]:
            digest = hashlib.sha256(content).hexdigest()
            add(f"blobs/sha256/{digest}", content)
            media = f"application/vnd.oci.image.{kind}"
            return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

        layer = blob(root.read_bytes(), "layer.v1.tar")
        image = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": list(entrypoint)},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        config_blob = blob(json.dumps(image).encode(), "config.v1+json")
        manifest = {"schemaVersion": 2, "config": config_blob, "layers": [layer]}
        described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
        described["annotations"] = {"io.containerd.image.name": name}
        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode())
    return file


def bundle(directory: Path, root: Path, cgroup: str, **annotations: str) -> Path:
    """An OCI bundle that sleeps in `cgroup`, on the tar `root`."""
    unpack(root, directory / "rootfs")
    subprocess.run(["runc", "spec"], cwd=directory, check=True)
    spec = json.loads((directory / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["sleep", "86400"], "rlimits": []}
    spec["linux"]["cgroupsPath"] = cgroup
    spec["annotations"] = annotations
    (directory / "config.json").write_text(json.dumps(spec))
    return directory
