"""The guests there are, and a run of a command in one of them."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kernels import images

CHECKOUT = Path(__file__).parents[2]
# Where the share is in the guest, and the disk that tests may use as swap.
SHARE = Path("/run/guest")
SWAP_DEVICE = "/dev/vda"
# How much longer than on a host things may take: the processor is emulated.
SLOWNESS = 20
_BOOT_SECONDS = 90
_KVM_BOOT_SECONDS = 5
_RUN_SECONDS = 2400

_KVM = ("-accel", "kvm", "-cpu", "host")
# thread=single is 10 % slower than one thread a processor, which hangs in one boot of a hundred.
# Without AVX, which is emulated by calls, programs start 13 % faster.
_EMULATED = (
    *("-accel", "tcg,thread=single", "-cpu"),
    "max,la57=off,smap=off,smep=off,avx=off,avx2=off",
)
_MACHINE = (
    *("-M", "q35", "-m", "2G", "-smp", "1", "-nodefaults", "-no-user-config"),
    *("-display", "none", "-no-reboot"),
)
_APPEND = (
    "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off no5lvl init_on_alloc=0"
    " apparmor=0 selinux=0"
)
_UNIT = f"""\
[Unit]
DefaultDependencies=no
After=basic.target dbus.socket systemd-logind.service
Requires=basic.target
Wants=dbus.socket systemd-logind.service

[Service]
Type=oneshot
ExecStart=/bin/sh {SHARE}/run
ExecStopPost=/bin/busybox poweroff -f
TimeoutStartSec=infinity
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A kernel with its command line, and which tests run on it."""

    name: str
    suite: str  # the release of Debian whose kernel it is
    cgroup: str  # v1, v2, hybrid
    systemd: bool = False
    append: str = "psi=1"
    requires: str = "live"  # the words of NSEXPORTER_TEST_REQUIRE: what must not be skipped here
    tests: tuple[str, ...]

    def command_line(self) -> str:
        words = f"{_APPEND} {self.append} nsexporter.cgroup={self.cgroup}"
        if not self.systemd:
            return words
        masked = (f"systemd.mask={unit}" for unit in _MASKED)
        return f"{words} nsexporter.init=systemd systemd.unit=guest.service {' '.join(masked)}"


# What depends on the kernel most; the guest v2 runs all.
_MAIN = tuple(
    f"tests/live/test_{name}.py"
    for name in ("edge", "eventfd", "memory", "namespaces", "oom", "soft_limit", "v2")
)
_LACKING = ("tests/live/test_lacking.py",)
_KILLS = {"NSEXPORTER_SOAK_KILLS": "40", "NSEXPORTER_STORM_KILLS": "120"}
_V2 = "live,v2,swap,zswap,psi,peak"
GUESTS = {
    guest.name: guest
    for guest in (
        Guest(name="v2", suite="trixie", cgroup="v2", requires=_V2, tests=("tests/live",)),
        Guest(
            name="systemd",
            suite="bookworm",
            cgroup="v2",
            systemd=True,
            requires="live,v2,systemd",
            tests=(
                "tests/systemd",
                *(f"tests/live/test_{name}.py" for name in ("namespaces", "oom", "v2")),
            ),
        ),
        Guest(
            name="v2-storms",
            suite="trixie",
            cgroup="v2",
            requires="soak",
            tests=("tests/soak/test_oom_storm.py",),
        ),
        Guest(name="v2-bookworm", suite="bookworm", cgroup="v2", requires=_V2, tests=_MAIN),
        Guest(name="hybrid", suite="bookworm", cgroup="hybrid", tests=_MAIN),
        Guest(name="v1", suite="bookworm", cgroup="v1", tests=_MAIN),
        Guest(
            name="no-psi",
            suite="trixie",
            cgroup="v2",
            append="psi=0",
            requires="live,no-psi",
            tests=_LACKING,
        ),
        Guest(
            name="no-memory",
            suite="trixie",
            cgroup="v2",
            append="psi=1 cgroup_disable=memory",
            requires="no-memory",
            tests=_LACKING,
        ),
    )
}

# What takes long in a guest and nothing here needs.
_MASKED = (
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "kmod-static-nodes.service",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-hwdb-update.service",
    "systemd-firstboot.service",
    "ldconfig.service",
)


class GuestError(Exception):
    """A guest that did not boot, or ended before its command did."""


class Run:
    """A booted guest, and the files of its share."""

    def __init__(self, process: subprocess.Popen[bytes], share: Path) -> None:
        self._process = process
        self._deadline = time.monotonic() + _RUN_SECONDS
        self.share = share

    def running(self) -> bool:
        """Whether the guest is up; one that runs for too long is ended."""
        if time.monotonic() > self._deadline:
            self._process.kill()
            self._process.wait()
        return self._process.poll() is None

    def status(self) -> int | None:
        """The exit status of the command, None where it has not ended (or the guest died)."""
        try:
            return int((self.share / "status").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def console(self) -> str:
        """The last lines of the guest's console."""
        return _tail(self.share / "console")

    def tail(self) -> str:
        """The last lines of the command's output."""
        return _tail(self.share / "output")

    def output(self) -> Iterator[bytes]:
        """What the command writes, as it comes, until the guest has ended."""
        with open(self.share / "output", "rb") as file:
            while self.running():
                if chunk := file.read():
                    yield chunk
                else:
                    time.sleep(0.1)
            yield file.read()


@contextmanager
def boot(
    guest: Guest, command: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> Iterator[Run]:
    """A guest that runs `command` in the checkout and is then powered off.

    `directory` becomes the share, SHARE in the guest: the command's output, its exit status and
    what it writes there stay in it, with the console of the guest.
    """
    images.check()
    kernel = images.kernel(guest.suite)
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "units").mkdir(parents=True)
    (directory / "units" / "guest.service").write_text(_UNIT)
    (directory / "checkout").write_text(str(CHECKOUT))
    (directory / "run").write_text(_script(command, environment))
    (directory / "output").touch()
    if guest.systemd:
        _wheels(directory / "wheels")
    with tempfile.TemporaryDirectory() as scratch:
        initramfs = Path(scratch) / "initramfs"
        initramfs.write_bytes(images.initramfs(kernel))
        disks = [Path(scratch) / name for name in ("swap", "files")]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(1 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", disks[1]], check=True)
        vmlinux = kernel.directory / "vmlinux"
        argv = [
            *("qemu-system-x86_64", *_processor(vmlinux), *_MACHINE),
            *("-serial", f"file:{directory}/console"),
            *_shared("root", Path("/"), ",readonly=on,multidevs=remap"),
            *_shared("share", directory, ""),
            *_drive(disks[0]),
            *_drive(disks[1]),
            *("-kernel", str(vmlinux), "-initrd", str(initramfs)),
            *("-append", guest.command_line()),
        ]
        # One boot in some hundred hangs before its init: that is the emulation's fault.
        process = _started(argv, directory) or _started(argv, directory)
        if process is None:
            told = _tail(directory / "qemu") + _tail(directory / "console")
            raise GuestError(f"{guest.name} did not boot:\n{told}")
        try:
            yield Run(process, directory)
        finally:
            process.kill()
            process.wait()


def _wheels(directory: Path) -> None:
    """The checkout and what it depends on, for the Python that every user may run."""
    pip = (sys.executable, "-m", "pip", "--python", "/usr/bin/python3", "--quiet")
    subprocess.run([*pip, "wheel", f"--wheel-dir={directory}", CHECKOUT], check=True)


def _tail(file: Path, lines: int = 30) -> str:
    return "\n".join(file.read_text("utf-8", "replace").splitlines()[-lines:])


def _shared(tag: str, path: Path, options: str) -> tuple[str, ...]:
    return (
        *("-fsdev", f"local,id={tag},path={path},security_model=none{options}"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    )


def _drive(file: Path) -> tuple[str, ...]:
    return ("-drive", f"file={file},format=raw,if=virtio,cache=unsafe")


@functools.cache
def _processor(vmlinux: Path) -> tuple[str, ...]:
    """How a guest is run: by KVM where a kernel boots with it, else emulated."""
    # That /dev/kvm opens tells nothing: on some virtual machines it does, and guests hang. A kernel
    # without a root panics, which ends QEMU.
    probe = ("qemu-system-x86_64", *_KVM, *_MACHINE, "-kernel", vmlinux, "-append", "panic=-1")
    try:
        subprocess.run(probe, check=True, capture_output=True, timeout=_KVM_BOOT_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return _EMULATED
    return _KVM


def _started(argv: list[str], directory: Path) -> subprocess.Popen[bytes] | None:
    """A guest whose command runs, None where it does not come to that."""
    # Also where this is killed, no guest stays behind.
    argv = ["setpriv", "--pdeathsig=KILL", *argv]
    with open(directory / "qemu", "wb") as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    deadline = time.monotonic() + _BOOT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if (directory / "started").exists():
            return process
        time.sleep(0.1)
    if (directory / "started").exists():
        return process
    process.kill()
    process.wait()
    return None


def _script(command: Sequence[str], environment: Mapping[str, str]) -> str:
    settings = {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR": "/var/tmp",
        "NSEXPORTER_TEST_SLOWNESS": str(SLOWNESS),
        "NSEXPORTER_TEST_SWAP": SWAP_DEVICE,
        **environment,
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    return (
        f"{exports}cd {shlex.quote(str(CHECKOUT))}\n"
        f": >{SHARE}/started\n"
        f"{shlex.join(command)} >{SHARE}/output 2>&1 </dev/null\n"
        f"echo $? >{SHARE}/status\n"
        "sync\n"
    )


def test_command(ids: Sequence[str]) -> list[str]:
    """The command that runs these tests, by the interpreter that runs this."""
    return [sys.executable, "-m", "tests.kernels.inside", *ids]


def environment(guest: Guest) -> dict[str, str]:
    """What must not be skipped in the guest, and how many OOM kills are a storm there."""
    kills = {name: os.environ.get(name, few) for name, few in _KILLS.items()}
    return {"NSEXPORTER_TEST_REQUIRE": guest.requires, **kills}


def reports(run: Run) -> dict[str, dict[str, str]]:
    """What the guest's tests have told up to now, by their ids."""
    try:
        text = (run.share / "reports").read_text()
    except FileNotFoundError:
        return {}
    lines = text.split("\n")[:-1]  # the last one may be half written
    return {report["id"]: report for report in map(json.loads, lines)}
