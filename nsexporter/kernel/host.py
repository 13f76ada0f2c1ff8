"""What the host and this process are: kernel, distribution, capabilities."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import ParseError, text_of

# include/uapi/linux/capability.h: those that let an exporter see more.
_CAPABILITIES = {
    1: "CAP_DAC_OVERRIDE",
    2: "CAP_DAC_READ_SEARCH",
    19: "CAP_SYS_PTRACE",
    21: "CAP_SYS_ADMIN",
    24: "CAP_SYS_RESOURCE",
    34: "CAP_SYSLOG",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host as far as it tells; empty where it does not."""

    name: str
    kernel: str  # release
    machine: str  # x86_64, aarch64
    distribution: str


def host(reader: Reader, rootfs: str) -> Host:
    """uname(2) and os-release(5)."""
    system = os.uname()
    distribution = ""
    for name in ("etc/os-release", "usr/lib/os-release"):
        text = reader.read_all("host", f"{rootfs.rstrip('/')}/{name}")
        for line in (text or b"").splitlines():
            key, _, value = line.partition(b"=")
            if key == b"PRETTY_NAME":
                distribution = text_of(value.strip(b"\"'"))
        if distribution:
            break
    return Host(
        name=system.nodename,
        kernel=system.release,
        machine=system.machine,
        distribution=distribution,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a person asks of a host; sizes in bytes, `booted` in seconds since the epoch."""

    cpus: int
    memory: int
    swap: int
    booted: float


def machine(procfs: str) -> Machine:
    """What psutil tells. Loaded here: it takes 10 MB, which serving need not pay."""
    import psutil

    psutil.PROCFS_PATH = procfs
    return Machine(
        cpus=psutil.cpu_count() or 0,
        memory=psutil.virtual_memory().total,
        swap=psutil.swap_memory().total,
        booted=psutil.boot_time(),
    )


def capabilities(reader: Reader) -> tuple[str, ...]:
    """Those of this process's effective capabilities that let it see more (capabilities(7))."""
    text = reader.read_all("host", "/proc/self/status") or b""
    for line in text.splitlines():
        if line.startswith(b"CapEff:"):
            try:
                held = int(line.partition(b":")[2], 16)
            except ValueError:
                raise ParseError(f"/proc/self/status: {line[:80]!r}") from None
            return tuple(name for bit, name in _CAPABILITIES.items() if held >> bit & 1)
    raise ParseError(f"/proc/self/status has no CapEff: {text[:80]!r}")
