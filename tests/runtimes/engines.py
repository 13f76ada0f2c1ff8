"""Runtimes in a lab, each with its images and its command line."""

from __future__ import annotations

import json
from typing import Any

from tests.runtimes.images import IMAGE, oci_archive, root_tar
from tests.runtimes.rig import Lab, end, remove_cgroups

PODMAN_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "localhost/pause:1"
"""
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
