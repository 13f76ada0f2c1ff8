"""The image of deploy/Dockerfile: built without a registry, and what it sees of the host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.documents import ROOT, command
from tests.live import lab as cgroups
from tests.runtimes.engines import Docker
from tests.runtimes.rig import Lab
from tests.waiting import until

HOST = (
    "-v", "/proc:/host/proc:ro", "-v", "/sys:/host/sys:ro",
    "-v", "/run:/host/run:ro", "-v", "/var/lib:/host/var/lib:ro",
)  # fmt: skip


def closure(*packages: str) -> set[str]:
    """Installed packages with those that they depend on."""
    found: set[str] = set()
    left = list(packages)
    while left:
        name = left.pop()
        if name in found:
            continue
        told = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status}: ${Pre-Depends}, ${Depends}", name],
            capture_output=True,
            text=True,
        )
        if told.stdout.startswith("installed:"):
            found.add(name)
            left += re.findall(r"[a-z0-9][a-z0-9+.-]+(?=[ ,(|:]|$)", told.stdout)
    return found


def base_tar(directory: Path) -> Path:
    """Debian's python3 as a root file system, with the wheels that the build asks pip for."""
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    wheels = directory / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels),
         "--only-binary=:all:", f"--python-version={version}",
         "flit_core", "psutil", "PyYAML", "bcrypt"],
        check=True,
    )  # fmt: skip
    pip = directory / "pip.conf"
    pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    names = closure("python3", "python3-venv", "coreutils", "dash", "libc-bin")
    listed = subprocess.run(
        ["dpkg", "-L", *names], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    with tarfile.open(directory / "base.tar", "w") as archive:
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(entry)
        entry = tarfile.TarInfo("tmp")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(entry)
        merged = {re.sub(r"^/(bin|sbin|lib|lib64)(?=/)", r"/usr/\1", name) for name in listed}
        for name in sorted(merged):
            kept = name.startswith(("/usr/", "/etc/"))
            kept = kept and not re.match(r"/usr/share/(doc|man|locale)/", name)
            if kept and (os.path.islink(name) or os.path.isfile(name)):
                archive.add(name, name, recursive=False)
        archive.add(wheels, "wheels")
        archive.add(pip, "etc/pip.conf")
    return directory / "base.tar"


def typed(lab: Lab, line: str) -> str:
    """What a command line prints that is typed in the checkout."""
    return lab.run("sh", "-ec", f"cd {ROOT}; export DOCKER_BUILDKIT=0; {line}")


@pytest.fixture(scope="module")
def image(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, from this checkout, by the documented command."""
    base = base_tar(tmp_path_factory.mktemp("base"))
    (name,) = re.findall("^ARG BASE=(.*)$", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    docker("import", str(base), name)
    typed(docker.lab, command("deployment.md", "docker build"))
    return "nsexporter"


def scraped(lab: Lab) -> str:
    """What it serves on the lab's own network."""
    command = lab.argv("curl", "-sf", "http://127.0.0.1:10061/metrics")
    text: str = until(
        lambda: subprocess.run(command, capture_output=True, text=True).stdout,
        60,
    )
    return text


def test_it_runs_as_nobody_and_sees_every_cgroup_itself_included(
    docker: Docker, lab: Lab, image: str
) -> None:
    other = docker.sleep("--name", "other", "--network=none")
    own = docker("run", "-d", "--network=host", *HOST, image)
    try:
        text = scraped(lab)
        for container in (own, other):
            assert re.search(
                rf'^nsexporter_container_info{{.*id="docker://{container}"', text, re.M
            )
            assert re.search(
                rf'^nsexporter_cgroup_memory_[a-z_]*usage_bytes{{cgroup="/docker/{container}"',
                text,
                re.M,
            )
        status = Path(f"/proc/{docker.inspect(own)['State']['Pid']}/status").read_text()
        assert re.search(r"^Uid:\s65534\s65534", status, re.M)
        # What nobody may not see is told.
        assert 'nsexporter_capability{name="ns_read"} 0' in text
        assert 'nsexporter_capability{name="container_metadata"} 0' in text
        # Without --pid=host the kernel does not tell which processes are in a cgroup.
        assert 'nsexporter_capability{name="pid_namespace"} 0' in text
        counts = re.findall(
            rf'^nsexporter_cgroup_processes{{cgroup="/docker/{other}".* (\d+)$', text, re.M
        )
        assert counts == ([] if cgroups.version() == "v1" else ["1"])
        until(lambda: docker.inspect(own)["State"]["Health"]["Status"] == "healthy", 60)
    finally:
        docker("rm", "-f", own, other)


def test_the_documented_command_knows_names_and_namespaces(
    docker: Docker, lab: Lab, image: str
) -> None:
    other = docker.sleep("--name", "other", "--network=none")
    # As systemd has it, and as rslave needs it.
    lab.run("mount", "--make-rshared", "/")
    own = typed(lab, command("privileges.md", "docker run"))
    try:
        text = scraped(lab)
        labels = f'cgroup="/docker/{other}",container_id="{other[:12]}",container_name="other"'
        assert f'nsexporter_container_host_namespace{{ns_type="net",{labels}}} 0' in text
        assert 'nsexporter_capability{name="container_metadata"} 1' in text
        assert 'nsexporter_capability{name="pid_namespace"} 1' in text
        assert 'nsexporter_oom_event_sources{source="kmsg"} 1' in text
    finally:
        docker("rm", "-f", own, other)
