"""The exporter in a container: its own root, cgroup, network, IPC and UTS namespaces, few caps.

As `docker run --pid host --cap-drop ALL --cap-add … -v /:/host:ro` makes it, by unshare(1).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.samples import read

SCRIPT = """
mount --make-rprivate /
mount --bind / "$1"
mount --bind / "$1/mnt"
mount --rbind /proc "$1/mnt/proc"
mount --rbind /sys "$1/mnt/sys"
mount -o remount,bind,ro "$1/mnt"
chroot "$1" sh -c 'cd "$0" && "$1" -c ""' "$2" "$3" || exit 77
caps=-all,+sys_ptrace,+dac_read_search,+syslog
exec chroot "$1" setpriv --no-new-privs --inh-caps=$caps --bounding-set=$caps \
    sh -euc 'cd "$0"; exec "$@"' "$2" "$3" -m nsexporter dump \
    --path.procfs=/mnt/proc --path.sysfs=/mnt/sys --path.rootfs=/mnt
"""


def test_it_sees_the_host_and_itself(tmp_path: Path, need: Need) -> None:
    root = lab.memory_root()
    tools = all(map(shutil.which, ("unshare", "chroot", "setpriv")))
    need("live", root is not None and tools, "no memory hierarchy, or not root")
    assert root is not None
    identifier = os.urandom(32).hex()
    with lab.tree(root) as top, contextlib.ExitStack() as stack:
        beside, mine = top / "other", top / "docker" / identifier
        beside.mkdir()
        mine.mkdir(parents=True)
        if lab.version() == "v2":
            (top / "docker" / "cgroup.subtree_control").write_text("+memory")
        other = stack.enter_context(lab.process(beside, unshare=("--net",)))
        told = subprocess.run(
            ["unshare", "--mount", "--cgroup", "--net", "--ipc", "--uts", "sh", "-euc", SCRIPT,
             "sh", tmp_path, Path.cwd(), sys.executable],
            preexec_fn=lambda: lab.enter(mine),
            capture_output=True,
            text=True,
        )  # fmt: skip
        if told.returncode == 77:
            pytest.skip("this Python is not on the file system of /")
        assert told.returncode == 0, told.stderr
        seen = read(told.stdout)
        inode = str(os.stat(f"/proc/{other.pid}/ns/net").st_ino)

    def holds(name: str, **labels: str) -> list[float]:
        wanted = set(labels.items())
        return [value for (other, has), value in seen.items() if other == name and wanted <= has]

    own = f"/{top.name}/docker/{identifier}"
    usage = "nsexporter_cgroup_memory_usage_bytes"
    assert holds("nsexporter_cgroup_processes", cgroup="/"), "the host's root"
    assert holds(usage, cgroup=f"/{top.name}"), "the host's cgroups"
    assert holds(usage, cgroup=own, container_id=identifier[:12]), "its own"
    assert holds("nsexporter_container_info", cgroup=own, runtime="docker") == [1]
    assert holds("nsexporter_namespace_info", ns_type="net", ns_inode=inode), "others' namespaces"
    assert holds("nsexporter_container_host_namespace", cgroup=own, ns_type="pid") == [1]
    assert holds("nsexporter_container_host_namespace", cgroup=own, ns_type="net") == [0]
    assert holds("nsexporter_collector_success") and 0 not in holds("nsexporter_collector_success")
