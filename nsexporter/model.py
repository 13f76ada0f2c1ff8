"""What one pass saw, as immutable values. Imports nothing of the package.

Texts that come from the kernel are kept as `str` made by `kernel.parse.text_of`: bytes that are
not UTF-8 read `\\xNN`. Numbers stay the kernel's own bytes until arithmetic is done on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NS_TYPES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")
"""The namespace types as /proc/PID/ns names them (namespaces(7))."""


@dataclass(frozen=True, slots=True)
class OuterContainer:
    """A container that encloses another one (docker in docker, kind, kubelet in LXC)."""

    runtime: str | None
    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose a cgroup is, as far as its path tells. None: the path does not tell.

    `kind` is one of container, container-parent, container-child, sandbox, helper, pod, slice,
    service, scope, unit, job, machine, root, other.
    """

    kind: str
    container_id: str | None = None  # full, as the runtime writes it
    runtime: str | None = None  # docker, containerd, cri-o, podman, lxc, systemd-nspawn, ...
    pod_uid: str | None = None  # with dashes, or 32 hex for static pods
    qos: str | None = None  # guaranteed, burstable, besteffort
    sandbox_id: str | None = None
    helper_of: str | None = None  # container id that a conmon watches over
    unit: str | None = None  # the host's systemd unit, unescaped never
    user_unit: str | None = None  # a unit of a user's own manager
    uid: int | None = None
    podman_pod: str | None = None
    machine: str | None = None
    namespace: str | None = None  # containerd's
    ecs_task: str | None = None
    incus_project: str | None = None
    instance: str | None = None
    nomad: Mapping[str, str] | None = None  # alloc, task
    slurm: Mapping[str, str | int] | None = None  # job, uid, step, task, node
    batch: Mapping[str, str] | None = None  # manager, job
    outer: tuple[OuterContainer, ...] = ()  # outermost first
    guess: str | None = None  # "mountinfo" where no cgroup path told


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container: whose the cgroup of kind container (or sandbox) at `cgroup` is."""

    container_id: str  # full
    label_id: str  # as the container_id label shows it
    runtime: str  # empty where neither the path nor a source of metadata tells
    pod_uid: str = ""
    qos: str = ""
    cgroup: str  # path
    # What the runtime's state says; empty or None where it says nothing.
    name: str = ""
    pod_name: str = ""
    pod_namespace: str = ""
    image: str = ""  # as the container was made from: name with tag or digest
    image_id: str = ""  # sha256:hex
    created: float | None = None  # seconds since the epoch
    restarts: int | None = None
    labels: tuple[tuple[str, str], ...] = ()  # those that labels.allow lets through, sorted
    guess: str = ""  # what its processes told, where neither the path nor a state file did


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the passes up to this one saw of a cgroup; None: nothing is told of it."""

    reservation_exceeded: float | None  # seconds above the reservation
    hits_since_kill: int | None  # times its limit was hit since the last OOM kill in it or below
    peak: int | None  # bytes, since the pass before
    pressure: tuple[int, ...] | None  # v1: notifications of at least low, medium, critical


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """One cgroup of the hierarchy that carries the memory controller.

    `files` maps a file's name to its text as read, without the last newline; a file that the
    kernel does not have, or that may not be read, has no key.
    """

    path: str
    parent: int  # index of the parent in Snapshot.cgroups, -1 for the root
    identity: Identity
    container: Container | None = None  # where this is the container's own cgroup
    pod_name: str = ""  # of the pod that this cgroup is, or lies in
    pod_namespace: str = ""
    invocation: str = ""  # of its unit: 32 hexadecimal digits
    files: Mapping[str, bytes]
    pids: tuple[int, ...] = ()  # 0: a process of another PID namespace (v2)
    history: History | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """One namespace: who is in it, what keeps it, whose it is.

    None where the kernel gives no answer: the type has no parent, the parent or owner is outside
    what the exporter may see, or the namespace could not be opened.
    """

    ns_type: str
    inode: int
    processes: int  # as lsns(8) counts them
    for_children: int = 0  # processes whose children will be in it, not being so themselves
    threads: int = 0  # in it while their process's first thread is in another one
    kinds: frozenset[str] = frozenset()  # of its processes' cgroups; "" where none named one
    containers: frozenset[str] = frozenset()  # full ids of the containers with a process in it
    held_by: str = "process"  # process, mount, fd, child; empty where that was not seen
    path: str = ""  # a mount point, or /proc/PID/fd/N where only that keeps it
    owner: int | None = None  # inode of the user namespace that owns it
    parent: int | None = None  # inode of the pid or user namespace above it
    owner_uid: int | None = None  # who made the user namespace, itself or its owner
    depth: int | None = None  # of a pid or user namespace below the topmost one
    uid_map: tuple[tuple[int, int, int], ...] = ()  # first inside, first outside, how many
    without_process_since: float | None = None  # seconds since the epoch, as seen

    def __hash__(self) -> int:
        return hash((self.ns_type, self.inode))


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKill:
    """One kill by an OOM killer, as far as it was told of; None: it was not told.

    `constraint` is memcg (a cgroup's limit), none (the host ran out), cpuset, memory_policy, or
    unknown where only a counter told.
    """

    time: float | None  # seconds since the epoch
    constraint: str
    pid: int | None = None
    comm: str | None = None
    uid: int | None = None
    oom_memcg: str | None = None  # whose limit was hit
    task_memcg: str | None = None  # the victim's own cgroup
    group: str | None = None  # the cgroup all of which was killed (memory.oom.group)
    sizes: Mapping[str, int] = field(default_factory=dict)  # total-vm, anon-rss, ... in bytes
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OomAccount:
    """The kills that count for one cgroup: its own and, of a container, those below it too."""

    cgroup: str  # path
    container: Container | None
    pod_name: str
    pod_namespace: str
    kills: Mapping[str, int]  # constraint to how many
    last: OomKill


@dataclass(frozen=True, slots=True, kw_only=True)
class OomLedger:
    """Every OOM kill of this boot that is remembered, counted once."""

    accounts: Mapping[str, OomAccount] = field(default_factory=dict)  # by cgroup
    unattributed: int | None = None  # None where nothing tells of kills
    sources: Mapping[str, bool] = field(default_factory=dict)  # whether it tells of kills here


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One pass over the host."""

    timestamp: float  # seconds since the epoch, at the end of the pass
    duration: float  # seconds
    hierarchy: str  # v1, v2, or none where no memory controller is mounted
    cgroups: tuple[Cgroup, ...]
    # Where the patterns or the cap leave some out of `cgroups`: all, with path and files only, for
    # what limits and protects the others; parents are indexes of these.
    every: tuple[Cgroup, ...] = ()
    containers: tuple[Container, ...]
    label_ids: Mapping[str, str]  # a full container id to what the container_id label shows
    processes: Mapping[int, Mapping[str, int]]  # PID to /proc/PID/ns: name, *_for_children too, to
    # inode; zombies left out
    namespaces: tuple[Namespace, ...]
    unread_processes: int  # whose namespaces may not be read
    namespace_holders: tuple[str, ...] = ()  # what was looked for that keeps one: mount, fd, child
    foreign_pid_namespace: bool = False  # ours is not the host's: Cgroup.pids lack others'
    unread_threads: int = 0  # left out by collectors.namespaces.max_threads
    host_namespaces: Mapping[str, int]  # ns_type to inode of the host's, where it could be told
    namespace_limits: Mapping[str, int]  # ns_type to /proc/sys/user/max_*_namespaces
    vmstat: Mapping[bytes, bytes]
    meminfo: Mapping[bytes, int]  # /proc/meminfo in bytes, what is no amount of memory left out
    pressure: Mapping[bytes, bytes]  # /proc/pressure/memory: some, full to microseconds
    recursive_protection: bool  # cgroup2 is mounted with memory_recursiveprot (cgroup-v2.rst)
    soft_limit_reclaim: bool  # the kernel acts on v1's soft limits
    soft_limit_rounds: tuple[int, int] | None = None  # of the whole host, and their pages
    oom: OomLedger = OomLedger()
    unread_state: frozenset[str] = frozenset()  # sources whose state files may not be read

    @property
    def host_oom_kills(self) -> int | None:
        """OOM kills of the host since boot, None before Linux 4.13."""
        kills = self.vmstat.get(b"oom_kill")
        return None if kills is None else int(kills)
