"""Real runtimes with their default paths, in a mount and a network namespace of their own.

Only cgroups are shared with the host: what a runtime writes below /etc, /run and /var/lib stays in
the lab, its "host" network is the lab's, its other host namespaces are the host's own. Images are
made of busybox-static; no registry is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.model import Cgroup, Snapshot
from tests.samples import Samples, scrape
from tests.waiting import until

IMAGE = "localhost/box:1"
APPLETS = ("sh", "sleep", "cat", "true", "head", "tail", "dd", "hostname", "ls", "id")

_HOLDER = r"""
set -e
mkdir -p "$1/lib" "$1/etc" "$1/work"
mount --bind "$1/lib" /var/lib
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
# crun and podman refuse a hybrid host whose cgroup2 has a controller.
if [ -e /sys/fs/cgroup/unified/cgroup.controllers ]; then
    : >"$1/empty"
    mount --bind "$1/empty" /sys/fs/cgroup/unified/cgroup.controllers
fi
ip link set lo up
echo ready
exec sleep infinity
"""


class Lab:
    """The namespaces, and what runs in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            [
                *("unshare", "-m", "-n", "--propagation", "private"),
                *("bash", "-c", _HOLDER, "-", str(directory)),
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid

    def close(self) -> None:
        """End the daemons, then every process that is in the lab, and their descendants."""
        for daemon in reversed(self._daemons):
            end(daemon)
        for pid in _descendants(self._inside()) - {self.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        until(self._removed, 60)

    def _removed(self) -> bool:
        # What is mounted in the lab goes with its last process, and is busy until then.
        shutil.rmtree(self.directory, ignore_errors=True)
        return not self.directory.exists()

    def path(self, path: str) -> Path:
        """A path of the lab as seen from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def argv(self, *command: str) -> list[str]:
        """A command as run in the lab."""
        return ["nsenter", "-m", "-n", "-t", str(self.pid), "--", *command]

    def run(self, *command: str) -> str:
        """What a command in the lab prints, without the last newline; it has to succeed."""
        done = subprocess.run(
            self.argv(*command), capture_output=True, text=True, timeout=120, cwd="/"
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """A daemon in the lab, ended with it; its output is in `log`, below the lab's directory."""
        with (self.directory / log).open("wb") as file:
            daemon = subprocess.Popen(
                self.argv(*command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        self._daemons.append(daemon)
        return daemon

    def answers(self, daemon: subprocess.Popen[bytes], path: str, log: str) -> None:
        """Wait until the daemon's socket accepts; where it ends before, its log is the error."""

        def accepts() -> bool:
            assert daemon.poll() is None, (self.directory / log).read_text(errors="replace")
            with socket.socket(socket.AF_UNIX) as connection:
                return connection.connect_ex(str(self.path(path))) == 0

        until(accepts, 60)

    def collector(self, **overrides: object) -> Collector:
        """An exporter that reads the lab's /etc, /run and /var/lib."""
        settings = {"path.rootfs": str(self.path("")), "metadata.timeout": 30.0}
        return Collector(config.load(None, settings | overrides))

    def snapshot(self, **overrides: object) -> Snapshot:
        """One pass over the host with the lab's files."""
        collector = self.collector(**overrides)
        try:
            return collector.collect()
        finally:
            collector.close()

    def scrape(self, **overrides: object) -> Samples:
        """The same as samples."""
        collector = self.collector(**overrides)
        try:
            return scrape(collector)
        finally:
            collector.close()

    def _inside(self) -> set[int]:
        """The processes in the lab's mount namespace: ours, and shims that left their parents."""
        own = os.readlink(f"/proc/{self.pid}/ns/mnt")
        inside = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/mnt") == own:
                    inside.add(int(name))
        return inside


def own(seen: Snapshot, container_id: str) -> Cgroup:
    """The one cgroup that is the container's own."""
    (found,) = (
        one
        for one in seen.cgroups
        if one.container is not None and one.container.container_id == container_id
    )
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to what has not ended in time."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _descendants(pids: set[int]) -> set[int]:
    """`pids` and all below them."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_bytes()
            parents[int(name)] = int(stat.rpartition(b")")[2].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


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


class Docker:
    """A dockerd in the lab, with its own containerd, an image, and the command line."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        self.lab = lab
        self.daemon = lab.start("dockerd", *flags, log="dockerd.log")
        lab.answers(self.daemon, "/run/docker.sock", "dockerd.log")
        archive = root_tar(lab.directory / "box.tar")
        lab.run("docker", "import", str(archive), IMAGE)

    def close(self) -> None:
        """Remove the containers, and the parent cgroup where it is empty."""
        if ids := self("ps", "-aq", "--no-trunc").split():
            self("rm", "-f", *ids)
        end(self.daemon)
        remove_cgroups("docker")

    def __call__(self, *arguments: str) -> str:
        """What `docker ARGUMENTS` prints."""
        return self.lab.run("docker", *arguments)

    def sleep(self, *flags: str, command: tuple[str, ...] = ("sleep", "86400")) -> str:
        """A container that sleeps; its full id."""
        return self("run", "-d", *flags, IMAGE, *command)

    def inspect(self, container: str) -> dict[str, Any]:
        """What docker says of a container."""
        (value,) = json.loads(self("inspect", "--type", "container", container))
        assert isinstance(value, dict)
        return value

    def daemon_pid(self) -> int:
        """The daemon itself, below nsenter."""
        return self.daemon.pid  # nsenter without --fork becomes the command


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


PODMAN_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "localhost/pause:1"
"""


class Podman:
    """Podman in the lab, with an image for containers and one for pods' own containers."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.path("/etc/containers").mkdir(exist_ok=True)
        lab.path("/etc/containers/containers.conf").write_text(PODMAN_CONF)
        archive = str(root_tar(lab.directory / "podman.tar"))
        self("import", archive, IMAGE)
        self(
            "import", "--change", 'ENTRYPOINT ["/bin/sleep", "86400"]', archive, "localhost/pause:1"
        )

    def close(self) -> None:
        """Remove pods and containers, and the parent cgroups that are empty then."""
        self("pod", "rm", "-f", "-t", "0", "--all")
        self("rm", "-f", "-t", "0", "--all")
        remove_cgroups("libpod_parent")

    def __call__(self, *arguments: str) -> str:
        """What `podman ARGUMENTS` prints."""
        return self.lab.run("podman", *arguments)

    def sleep(self, *flags: str) -> str:
        """A container that sleeps; its full id."""
        return self("run", "-d", *flags, IMAGE, "sleep", "86400").splitlines()[-1]

    def inspect(self, container: str) -> dict[str, Any]:
        """What podman says of a container."""
        (value,) = json.loads(self("container", "inspect", container))
        assert isinstance(value, dict)
        return value


CONTAINERD_CONF = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
"""
CNI_CONF = {
    "cniVersion": "0.4.0",
    "name": "lab",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "lab0",
            "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"},
        }
    ],
}


class Containerd:
    """A containerd in the lab with CRI and a network, images in two namespaces."""

    SOCKET = "/run/containerd/containerd.sock"

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        network = lab.path("/etc/cni/net.d")
        network.mkdir(parents=True, exist_ok=True)
        (network / "10-lab.conflist").write_text(json.dumps(CNI_CONF))
        settings = lab.directory / "containerd.toml"
        settings.write_text(CONTAINERD_CONF)
        self.daemon = lab.start("containerd", "-c", str(settings), log="containerd.log")
        lab.answers(self.daemon, self.SOCKET, "containerd.log")
        root = root_tar(lab.directory / "containerd.tar")
        for name, entrypoint in ((IMAGE, ()), ("localhost/pause:1", ("/bin/sleep", "86400"))):
            archive = oci_archive(lab.directory / "image.tar", root, name, *entrypoint)
            for namespace in ("default", "k8s.io"):
                self("-n", namespace, "images", "import", str(archive))

    def close(self) -> None:
        """End what runs; the pods' removal is up to who made them."""
        for container in self("containers", "ls", "-q").split():
            self("tasks", "rm", "-f", container)
            self("containers", "rm", container)
        end(self.daemon)
        remove_cgroups("default")

    def __call__(self, *arguments: str) -> str:
        """What `ctr ARGUMENTS` prints."""
        return self.lab.run("ctr", *arguments)


def remove_cgroups(path: str) -> None:
    """Remove a cgroup of every hierarchy, and those below it, where no process is in them."""
    for top in (Path("/sys/fs/cgroup") / path, *Path("/sys/fs/cgroup").glob(f"*/{path}")):
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # it is gone, or somebody else's is in it
                os.rmdir(directory)


def cgroup(pid: int) -> str:
    """The cgroup of a process in the hierarchy that the exporter reads."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    return next((paths[key] for key in paths if "memory" in key.split(",")), paths.get("", ""))
