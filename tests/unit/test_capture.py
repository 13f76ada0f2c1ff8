"""What a capture of a host has, and that it expands to the same files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import capture

GOLDEN_HOSTS = sorted((Path(__file__).parents[1] / "golden" / "hosts").glob("*.txtar"))

HOSTILE_NAMES = [
    b"plain",
    b"with space",
    b" leading and trailing ",
    b"back\\slash",
    b"\\x41",
    b"system-serial\\x2dgetty.slice",
    b"trailing backslash\\",
    b"quote\"'{},=",
    b"not utf8 \xff\xfe",
    "é\u2028\x85".encode(),
    b"line\nfeed\rreturn\ttab",
    b"arrow -> arrow",
    b"-- header --",
    b"name --",
    b"x (deleted)",
]
HOSTILE_CONTENTS = [
    b"",
    b"\n",
    b"\n\n",
    b"no line end",
    b"line end\n",
    b"-- proc/1/cgroup --\n",
    b"-- proc/1/cgroup --",
    b"text\n-- a -> b --\ntext\n",
    b"\\x2d- a --\n",
    b"-- \n --\n-- --\n",
    b"backslash\\\n",
    b"backslash\\",
    b"\\",
    b"\\\\x41\\n\n",
    b"\xff\x00\x7f\r\n\x0b\x0c\x1c",
    "é\u2028\u2029\x85\n".encode(),
    b"tab\tspace \n",
]


def tree(root: Path) -> dict[bytes, bytes | None]:
    """Every path below root: content of a file, `-> target` of a link, None for a directory."""
    found: dict[bytes, bytes | None] = {}
    top = os.fsencode(root)
    for place, directories, files in os.walk(top):
        for name in directories + files:
            path = place + b"/" + name
            relative = path[len(top) + 1 :]
            if os.path.islink(path):
                found[relative] = b"-> " + os.readlink(path)
            elif os.path.isdir(path):
                found[relative] = None
            else:
                found[relative] = Path(os.fsdecode(path)).read_bytes()
    return found


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_survives_as_file_directory_link_and_target(
    name: bytes, tmp_path: Path
) -> None:
    text = capture.render(
        [
            capture.Entry(b"f/" + name, b"1\n"),
            capture.Entry(b"d/" + name),
            capture.Entry(b"l/" + name, target=name),
        ]
    )
    capture.expand(text, tmp_path)
    assert tree(tmp_path) == {
        b"f": None,
        b"d": None,
        b"l": None,
        b"f/" + name: b"1\n",
        b"d/" + name: None,
        b"l/" + name: b"-> " + name,
    }


@pytest.mark.parametrize("content", HOSTILE_CONTENTS)
def test_a_hostile_content_survives_between_two_others(content: bytes) -> None:
    written = [
        capture.Entry(b"before", b"1\n"),
        capture.Entry(b"hostile", content),
        capture.Entry(b"after", b"2\n"),
        capture.Entry(b"last", content),
    ]
    text = capture.render(written, "comment")
    assert capture.entries(text) == written
    assert capture.entries(text.encode().decode()) == written


def test_the_archive_is_plain_lines_of_text() -> None:
    text = capture.render(
        [capture.Entry(name, b"".join(HOSTILE_CONTENTS)) for name in HOSTILE_NAMES]
    )
    assert text.splitlines() == text.split("\n")[:-1]


def test_text_before_the_first_header_is_comment() -> None:
    assert capture.entries("composed\nby hand\n-- a --\n1\n") == [capture.Entry(b"a", b"1\n")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- ../a --\n", "not a plain path"),
        ("-- /a --\n", "not a plain path"),
        ("-- a//b --\n", "not a plain path"),
        ("-- a/./b --\n", "not a plain path"),
        ("-- a --\n-- a --\n", "given twice"),
        ("-- a -> /tmp --\n-- a/b --\n1\n", "below a symbolic link"),
        ("-- a -> b --\ncontent\n", "has no content"),
        ("-- a/ --\ncontent\n", "has no content"),
        ("-- a --\n\\q\n", "escapes nothing"),
        ("-- a --\n\\x4\n", "escapes nothing"),
    ],
)
def test_a_malformed_archive_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        capture.expand(text, tmp_path)


MOUNTINFO = b"""\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 none rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
43 27 0:32 / /other/place rw,relatime - cgroup cgroup rw,memory
"""
STATUS = (
    b"State:\tS (sleeping)\nTgid:\t7\nPid:\t7\nPPid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t7\t1\n"
    b"Threads:\t1\n"
)


def hand_made_host(root: Path) -> None:
    memory = "sys/fs/cgroup/memory"
    write(
        root,
        {
            "proc/1/mountinfo": MOUNTINFO,
            "proc/self/mountinfo": MOUNTINFO,
            "proc/meminfo": b"MemTotal:       24684104 kB\n",
            "proc/vmstat": b"oom_kill 3\n",
            "proc/pressure/memory": b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
            "proc/sys/user/max_net_namespaces": b"96000\n",
            "proc/sys/kernel/random/boot_id": b"00000000-0000-4000-8000-000000000000\n",
            "proc/stat": b"btime 1700000000\n",
            "proc/7/stat": b"7 (comm) S 1 7 7 0\n",
            "proc/7/status": STATUS,
            "proc/7/cgroup": b"8:pids:/\n4:memory:/a\\x2db\n0::/\n",
            f"{memory}/cgroup.procs": b"",
            f"{memory}/a\\x2db/cgroup.procs": b"7\n",
            f"{memory}/a\\x2db/memory.usage_in_bytes": b"4096\n",
            f"{memory}/no line end/memory.stat": b"cache 0",
            "sys/fs/cgroup/pids/pids.current": b"1\n",
            "sys/fs/cgroup/unified/io.pressure": b"some avg10=0.00 total=1\n",
        },
    )
    (root / memory / "empty").mkdir()
    os.mkdir(os.fsencode(root / memory) + b"/not utf8 \xff")
    (root / "proc/7/ns").mkdir()
    (root / "proc/7/ns/net").symlink_to("net:[4026531833]")


def test_an_expanded_capture_equals_the_host(tmp_path: Path) -> None:
    host, copy = tmp_path / "host", tmp_path / "copy"
    hand_made_host(host)
    capture.expand(capture.capture(host / "proc", host / "sys"), copy)
    assert tree(copy) == tree(host)


def test_what_may_hold_secrets_or_hang_is_not_captured(tmp_path: Path) -> None:
    host, copy = tmp_path / "host", tmp_path / "copy"
    hand_made_host(host)
    expected = tree(host)
    write(
        host,
        {
            "proc/7/stat": b"7 (hunter2 (x) ) S 1 7 7 0\n",
            "proc/7/status": b"Name:\thunter2\n" + STATUS + b"Seccomp:\t0\n",
            "proc/7/cmdline": b"app\0--password=hunter2\0",
            "proc/7/environ": b"PASSWORD=hunter2\0",
            "proc/7/comm": b"hunter2\n",
            "proc/stat": b"cpu 1 2 3\nbtime 1700000000\n",
            "proc/1/mountinfo": MOUNTINFO.replace(b"ext4 none rw", b"ext4 hunter2 rw,user=hunter2"),
            "sys/fs/cgroup/cpu/cgroup.procs": b"7\n",
            "sys/fs/cgroup/memory/cgroup.event_control": b"hunter2",
            "sys/fs/cgroup/memory/memory.pressure_level": b"hunter2",
            "sys/fs/cgroup/memory/notify_on_release": b"hunter2",
        },
    )
    write(host, {"sys/fs/cgroup/memory/memory.write_only": b"hunter2"})
    (host / "sys/fs/cgroup/memory/memory.write_only").chmod(0o200)
    text = capture.capture(host / "proc", host / "sys")
    assert "hunter2" not in text
    capture.expand(text, copy)
    assert tree(copy) == expected


def test_a_process_limit_keeps_one_of_each_cgroup_and_cuts_the_lists(tmp_path: Path) -> None:
    hand_made_host(tmp_path)
    for pid in (3, 5):
        write(
            tmp_path,
            {
                f"proc/{pid}/stat": b"%d (comm) S 1\n" % pid,
                f"proc/{pid}/status": b"Pid:\t%d\n" % pid,
                f"proc/{pid}/cgroup": b"4:memory:/\n",
            },
        )
    write(tmp_path, {"sys/fs/cgroup/memory/cgroup.procs": b"3\n5\n"})
    text = capture.capture(tmp_path / "proc", tmp_path / "sys", process_limit=2)
    found = {entry.path: entry.content for entry in capture.entries(text)}
    assert b"proc/3/stat" in found
    assert b"proc/5/stat" not in found
    assert found[b"sys/fs/cgroup/memory/cgroup.procs"] == b"3\n"
    assert found[b"sys/fs/cgroup/memory/a\\x2db/cgroup.procs"] == b"7\n"


def test_chosen_cgroups_come_with_those_above_and_below(tmp_path: Path) -> None:
    hand_made_host(tmp_path)
    memory = tmp_path / "sys/fs/cgroup/memory"
    for path in ("a/b/c", "a/bc", "d"):
        (memory / path).mkdir(parents=True)
    text = capture.capture(tmp_path / "proc", tmp_path / "sys", cgroups=["/a/b"])
    names = [entry.path for entry in capture.entries(text) if entry.path.startswith(b"sys/")]
    assert names == [
        b"sys/fs/cgroup/memory/cgroup.procs",
        b"sys/fs/cgroup/memory/a/b/c",
        b"sys/fs/cgroup/pids/pids.current",
        b"sys/fs/cgroup/unified/io.pressure",
    ]


def test_the_command_writes_the_same_archive(tmp_path: Path) -> None:
    hand_made_host(tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, capture.__file__),
            *("--path.procfs", tmp_path / "proc", "--path.sysfs", tmp_path / "sys"),
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    assert done.stdout.decode() == capture.capture(tmp_path / "proc", tmp_path / "sys")


def cgroup_of(lines: bytes, controller: bytes) -> bytes | None:
    for line in lines.splitlines():
        _, controllers, path = line.split(b":", 2)
        if controller in controllers.split(b",") or (controller, controllers) == (b"", b""):
            return path
    return None


def mounted_at(mountinfo: bytes) -> dict[bytes, bytes]:
    """Where each of memory, pids and (as b"") cgroup2 is mounted, relative to /."""
    found = {}
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(b" - ")
        kind, _, options = rest.split()
        if kind == b"cgroup2":
            found[b""] = mount.split()[4][1:]
        if kind == b"cgroup":
            for controller in {b"memory", b"pids"} & set(options.split(b",")):
                found[controller] = mount.split()[4][1:]
    return found


@pytest.mark.parametrize("path", GOLDEN_HOSTS, ids=lambda path: path.stem)
def test_a_golden_host_is_coherent(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = {entry.path: entry for entry in capture.entries(text)}
    comment = text[: text.index("-- ")]
    assert capture.render(found.values(), comment) == text
    mounts = mounted_at(found[b"proc/1/mountinfo"].content or b"")
    placed: dict[bytes, list[int]] = {}
    for name, entry in found.items():
        parts = name.split(b"/")
        if parts[0] != b"proc" or not parts[1].isdigit() or parts[2] != b"cgroup":
            continue
        for controller, mount in mounts.items():
            cgroup = cgroup_of(entry.content or b"", controller)
            assert cgroup is not None
            procs = mount + cgroup.rstrip(b"/") + b"/cgroup.procs"
            placed.setdefault(procs, []).append(int(parts[1]))
    listed = {
        name: [int(pid) for pid in (entry.content or b"").split()]
        for name, entry in found.items()
        if name.endswith(b"/cgroup.procs")
    }
    assert {name: sorted(pids) for name, pids in listed.items() if pids} == {
        name: sorted(pids) for name, pids in placed.items()
    }


def test_there_are_golden_hosts() -> None:
    assert [path.stem for path in GOLDEN_HOSTS] == [
        "crio-node",
        "hybrid-systemd",
        "hybrid",
        "kubernetes-node",
        "rhel7-docker",
        "systemd",
        "v1-hybrid-docker",
        "v2-systemd",
        "v2",
    ]
