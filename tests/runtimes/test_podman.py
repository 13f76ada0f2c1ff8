"""Podman's containers and pods as the exporter names them, compared with podman inspect."""

from __future__ import annotations

from tests.runtimes.rig import Podman


def test_podman_runs_in_the_lab(podman: Podman) -> None:
    for flags in (("--runtime", "runc"), ()):
        container_id = podman.sleep("--network", "none", *flags)
        assert podman.inspect(container_id)["State"]["Running"]
        podman("rm", "-f", "-t", "0", container_id)
    podman("pod", "create", "--name", "p1", "--network", "none")
    podman.sleep("--pod", "p1", "--name", "member")
    podman("pod", "rm", "-f", "-t", "0", "p1")
