"""What a guest boots from: Debian's kernels, unpacked and cached, and an initramfs."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The modules without which a guest has no root; with what they depend on, in the order to load.
MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay", "crc32c_generic", "ext4")
_MODULE = re.compile(r"\./(?:usr/)?lib/modules/[^/]+/kernel/(?:.+/)?([^/]+)\.ko(\.xz)?")
_SUBTREES = ("/drivers/virtio/", "/drivers/block/", "/net/9p/", "/fs/", "/lib/", "/crypto/")
_INIT = Path(__file__).with_name("init")


class UnavailableError(Exception):
    """Why a guest cannot be booted here."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of Debian's: `directory` has vmlinux, modules/ and modules.order."""

    release: str  # as uname -r says
    directory: Path


def check() -> None:
    """UnavailableError where a program is missing that booting a guest takes."""
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("mkfs.ext4", "e2fsprogs"),
        ("zstd", "zstd"),
        ("apt-get", "apt"),
    ):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is missing: apt-get install {package}")
    if os.geteuid() != 0:
        raise UnavailableError("a guest shows the files of root, which root only may read")


def cache() -> Path:
    """Where kernels are kept, outside of the checkout: for all that unpack them alike."""
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return Path(above) / "nsexporter" / "kernels" / recipe


def kernel(suite: str) -> Kernel:
    """The kernel that linux-image-amd64 of a Debian release is, downloaded once.

    `cache()/bookworm` is a link to the directory named after the package and its version; remove
    it to look for a newer one.
    """
    link = cache() / suite
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=link.parent) as scratch:
            package = _download(suite, Path(scratch))
            made = Path(scratch) / package.stem
            made.mkdir()
            _unpack(package, made)
            target = link.parent / package.stem
            if not target.exists():
                made.rename(target)
            (Path(scratch) / suite).symlink_to(target.name)
            (Path(scratch) / suite).replace(link)
    return Kernel((link / "release").read_text(), link.resolve())


def _download(suite: str, scratch: Path) -> Path:
    """The package of the newest kernel of a release, by apt with sources of its own."""
    (scratch / "lists" / "partial").mkdir(parents=True)
    (scratch / "sources").write_text(f"deb [arch=amd64] {_mirror()} {suite} main\n")
    options = [
        *("-o", f"Dir::Etc::SourceList={scratch}/sources", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}"),
        *("-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root"),
    ]
    try:
        _run("apt-get", *options, "-q", "update")
        depends = _run("apt-cache", *options, "depends", "--important", "linux-image-amd64")
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if found is None:
            raise UnavailableError(f"linux-image-amd64 of {suite} names no kernel: {depends}")
        _run("apt-get", *options, "-q", "download", found[1], cwd=scratch)
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"apt-get for {suite}: {error.stderr.strip()}") from None
    return next(scratch.glob("*.deb"))


def _mirror() -> str:
    """The mirror of Debian that this host's apt uses, else Debian's own address."""
    sites = _run("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(SITE)")
    found = re.search(r"^Debian \w+ (\S+)$", sites, re.MULTILINE)
    return found[1] if found else "http://deb.debian.org/debian"


def _run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


def _unpack(package: Path, directory: Path) -> None:
    """vmlinux, the modules that a guest needs and their order, from a package."""
    modules: dict[str, bytes] = {}
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if member.name.startswith("./boot/vmlinuz-"):
                (directory / "release").write_text(member.name.removeprefix("./boot/vmlinuz-"))
                (directory / "vmlinux").write_bytes(vmlinux(content.read()))
            elif (found := _MODULE.fullmatch(member.name)) and any(
                subtree in member.name for subtree in _SUBTREES
            ):
                data = content.read()
                modules[found[1].replace("-", "_")] = lzma.decompress(data) if found[2] else data
    order = list(_in_order(modules))
    (directory / "modules").mkdir()
    for name in order:
        (directory / "modules" / f"{name}.ko").write_bytes(modules[name])
    (directory / "modules.order").write_text("".join(f"{name}.ko\n" for name in order))


def _in_order(modules: dict[str, bytes]) -> Iterator[str]:
    """MODULES with what they depend on before them; a name that is no module is built in."""
    done: set[str] = set()

    def need(name: str) -> Iterator[str]:
        name = name.replace("-", "_")
        if name in done or name not in modules:
            return
        done.add(name)
        for line in re.findall(rb"\0depends=([^\0]*)", modules[name]):
            for other in filter(None, line.decode().split(",")):
                yield from need(other)
        yield name

    for name in MODULES:
        yield from need(name)


def vmlinux(image: bytes) -> bytes:
    """The ELF file in a bzImage, which QEMU boots at once (Documentation/arch/x86/boot.rst)."""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)  # payload_offset, payload_length
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        elf = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        # The last four bytes are the size, not zstd's.
        told = subprocess.run(
            ["zstd", "--decompress", "--stdout"],
            input=payload[:-4],
            capture_output=True,
            check=True,
        )
        elf = told.stdout
    else:
        raise UnavailableError(f"a kernel compressed in an unknown way: {payload[:8].hex()}")
    if not elf.startswith(b"\x7fELF"):
        raise UnavailableError("the kernel's payload is no ELF file")
    return elf


def initramfs(kernel: Kernel) -> bytes:
    """busybox, the kernel's modules and `init`, as cpio in the new ASCII format."""
    busybox = shutil.which("busybox") or "busybox"
    archive = _Cpio()
    for directory in ("bin", "dev", "lower", "modules", "newroot", "proc", "sys", "upper"):
        archive.add(directory, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    for applet in _run(busybox, "--list").split():
        if applet != "busybox":
            archive.add(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
    archive.add("init", stat.S_IFREG | 0o755, _INIT.read_bytes())
    order = (kernel.directory / "modules.order").read_bytes()
    archive.add("modules.order", stat.S_IFREG | 0o644, order)
    for name in order.decode().split():
        module = (kernel.directory / "modules" / name).read_bytes()
        archive.add(f"modules/{name}", stat.S_IFREG | 0o644, module)
    return archive.end()


class _Cpio:
    """A cpio archive, as Documentation/driver-api/early-userspace/buffer-format.rst has it."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._inode = 0

    def add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (head, data):
            self._out.write(part + b"\0" * (-len(part) % 4))

    def end(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return self._out.getvalue()
