"""The settings: every key, its default and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nsexporter.config.errors import ConfigError
from nsexporter.config.settings import (
    Row,
    Schema,
    boolean,
    built,
    duration,
    integer,
    list_of,
    one_of,
    optional,
    path,
    regex,
    string,
)

__all__ = [
    "ROWS",
    "Config",
    "ConfigError",
    "Row",
    "add_flags",
    "example",
    "load",
    "overrides",
]


@dataclass(frozen=True, slots=True)
class Path:
    procfs: str
    sysfs: str
    rootfs: str


@dataclass(frozen=True, slots=True)
class Web:
    listen_addresses: tuple[str, ...]
    telemetry_path: str
    max_connections: int
    config_file: str | None
    disable_status_page: bool


@dataclass(frozen=True, slots=True)
class Security:
    landlock: str


@dataclass(frozen=True, slots=True)
class Log:
    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Collection:
    interval: float
    max_age: float
    max_cgroups: int
    cgroup_allow: tuple[str, ...]
    cgroup_deny: tuple[str, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Switch:
    """A collector without settings of its own."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class Namespaces:
    enabled: bool
    refresh: int
    threads: bool
    max_threads: int
    max_fds: int


@dataclass(frozen=True, slots=True)
class Memory:
    enabled: bool
    pressure_notifications: int
    sample_interval: float
    reset_peak: bool
    soft_limit_trace: bool


@dataclass(frozen=True, slots=True)
class Collectors:
    """A collector each; in the file `memory: false` is short for `memory: {enabled: false}`."""

    memory: Memory
    pids: Switch
    pressure: Switch
    namespaces: Namespaces
    self: Switch
    numa: Switch
    hugetlb: Switch


@dataclass(frozen=True, slots=True)
class Metadata:
    sources: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Oom:
    retention: float
    max_gone: int
    max_watches: int
    kmsg: str
    state_file: str


@dataclass(frozen=True, slots=True)
class Compat:
    cadvisor: bool


@dataclass(frozen=True, slots=True)
class Labels:
    container_id_length: int
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, parsed, a section an attribute."""

    path: Path
    web: Web
    security: Security
    log: Log
    collection: Collection
    collectors: Collectors
    metadata: Metadata
    oom: Oom
    labels: Labels
    compat: Compat


_url_path = string("a URL path that begins with /", r"/[!\"$->@-~]*")
_HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9._-]*)"
_PORT = r"(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_address = string(
    "an address such as :10061, localhost:10061, [::1]:10061 or unix:/run/nsexporter.sock",
    rf"{_HOST}:{_PORT}|unix:/[^\0\ud800-\udfff]{{1,100}}",
)
_label_pattern = string("a label's name", r"[^\0]+")

UNITS = "systemd"
"""The source that tells of units, not of containers."""
SOURCES = (
    *("docker", "containerd", "cri-o", "podman", "oci", "lxc", "machined", UNITS),
    *("docker-api", "podman-api"),
)
"""The sources of metadata there are."""

_CGROUPS = ["^/system[.]slice/"]
ROWS = (
    Row(key="path.procfs", parse=path, default="/proc", flag="--path.procfs",
        why="Where procfs is mounted; in a container, the host's."),
    Row(key="path.sysfs", parse=path, default="/sys", flag="--path.sysfs",
        why="Where sysfs is mounted; cgroups are looked for below it."),
    Row(key="path.rootfs", parse=path, default="/", flag="--path.rootfs",
        why="Where the host's root is mounted."),
    Row(key="web.listen_addresses", parse=list_of(_address, 1), default=[":10061"],
        flag="--web.listen-address", why="Addresses to serve on; no host means all interfaces."),
    Row(key="web.telemetry_path", parse=_url_path, default="/metrics", flag="--web.telemetry-path",
        why="URL path of the metrics."),
    Row(key="web.max_connections", parse=integer(1), default=128,
        why="Connections served at once, so that slow clients cannot use up descriptors."),
    Row(key="web.config_file", parse=optional(path), default=None, flag="--web.config.file",
        example="web.yaml", why="TLS, passwords and headers (exporter-toolkit's format)."),
    Row(key="web.disable_status_page", parse=boolean, default=False,
        flag="--web.disable-status-page", why="Serve no status page at /, for people."),
    Row(key="security.landlock", parse=one_of("auto", "on", "off"), default="auto",
        flag="--security.landlock", why="Have the kernel keep the exporter from writing anything"
        " but its state: auto (where it can), on (or do not start), off."),
    Row(key="log.level", parse=one_of("debug", "info", "warning", "error"), default="info",
        flag="--log.level", why="Least severity logged: debug, info, warning or error."),
    Row(key="log.format", parse=one_of("logfmt", "json"), default="logfmt", flag="--log.format",
        why="Form of a log line: logfmt or json."),
    Row(key="collection.interval", parse=duration("100ms"), default="15s",
        flag="--collection.interval", why="Time between two passes over the cgroups."),
    Row(key="collection.max_age", parse=duration("0s"), default="1s",
        flag="--collection.max-age", why="Age up to which a pass answers another scrape."),
    Row(key="collection.max_cgroups", parse=integer(0), default=20000,
        why="Cgroups shown at most, parents first, to bound cardinality; 0: no cap."),
    Row(key="collection.cgroup_allow", parse=list_of(regex), default=[], example=_CGROUPS,
        why="Regular expressions of the cgroup paths to show; none: all."),
    Row(key="collection.cgroup_deny", parse=list_of(regex), default=[], example=_CGROUPS,
        why="Regular expressions of the cgroup paths not to show (their limits still count)."),
    Row(key="collection.exact", parse=boolean, default=False, flag="--collection.exact",
        why="Read every file of every cgroup in every pass, not only what may have changed."),
    *(
        Row(key=f"collectors.{name}.enabled", parse=boolean, default=True, why=why,
            flag=f"--collector.{name}")
        for name, why in (
            ("memory", "Memory of every cgroup: usage, limits, events and statistics."),
            ("pids", "Tasks of every cgroup and their limit."),
            ("pressure", "Pressure stall information (PSI) of every cgroup."),
            ("namespaces", "Which namespaces processes share."),
            ("self", "What the exporter itself uses."),
        )
    ),
    Row(key="collectors.numa.enabled", parse=boolean, default=False, flag="--collector.numa",
        why="Memory of every cgroup on each NUMA node."),
    Row(key="collectors.hugetlb.enabled", parse=boolean, default=False, flag="--collector.hugetlb",
        why="Huge pages of every cgroup, of each size."),
    Row(key="collectors.memory.pressure_notifications", parse=integer(0, 5000), default=200,
        why="Most v1 cgroups, of those with a limit or soft limit, whose memory.pressure_level is"
        " listened to (three descriptors each; root only)."),
    Row(key="collectors.memory.sample_interval", parse=duration("0s"), default="1s",
        why="Time between two looks at the usage of cgroups within 10 % of their limit; 0s: none."),
    Row(key="collectors.memory.reset_peak", parse=boolean, default=False,
        why="Have memory.peak of every cgroup reset for the exporter at every pass (Linux 6.12,"
        " a descriptor and write access for each) instead of sampling."),
    Row(key="collectors.memory.soft_limit_trace", parse=boolean, default=False,
        why="Count v1's soft limit reclaim of the host in a tracing instance of the exporter's own"
        " (tracefs mounted on /sys/kernel/tracing; root only)."),
    Row(key="collectors.namespaces.refresh", parse=integer(1), default=8,
        why="Passes within which every process is read again; a new one is at once. 1: all."),
    Row(key="collectors.namespaces.threads", parse=boolean, default=False,
        why="Look for threads that are in other namespaces than their process."),
    Row(key="collectors.namespaces.max_threads", parse=integer(1), default=256,
        why="Threads of a process looked at, with threads: true."),
    Row(key="collectors.namespaces.max_fds", parse=integer(0), default=1000,
        why="Descriptors looked at in a pass for namespaces they keep, in turn; 0: none."),
    Row(key="metadata.sources", parse=list_of(one_of(*SOURCES)), default=list(SOURCES),
        why="Whose state tells of containers, in the order asked; each only where it is there."),
    Row(key="metadata.timeout", parse=duration("1ms"), default="200ms",
        why="How long a pass waits for what is told of its new containers, all together."),
    Row(key="oom.retention", parse=duration("0s"), default="1h",
        why="How long the kills of a cgroup are shown after the cgroup is gone."),
    Row(key="oom.max_gone", parse=integer(0), default=10000,
        why="Cgroups that are gone kept at most, the oldest dropped first."),
    Row(key="oom.max_watches", parse=integer(0), default=8192,
        why="Cgroups watched between passes at most, an eventfd each on v1; 0: none."),
    Row(key="oom.kmsg", parse=path, default="/dev/kmsg",
        why="The kernel log, which names victims; none: do not read it."),
    Row(key="oom.state_file", parse=path, default="auto",
        why="Keeps the count over restarts; auto: oom.json in $STATE_DIRECTORY if set; or none."),
    Row(key="labels.container_id_length", parse=integer(12, 64), default=12,
        why="Digits kept of a container ID, 12 (as docker ps shows) to 64 (all)."),
    Row(key="labels.allow", parse=list_of(_label_pattern),
        default=["com.docker.compose.project", "com.docker.compose.service"],
        why="Containers' own labels shown in container_info, * standing for any characters."),
    Row(key="compat.cadvisor", parse=boolean, default=False, flag="--compat.cadvisor",
        why="Export memory and OOM kills under cAdvisor's names too (see docs/cadvisor.md)."),
)  # fmt: skip
_SCHEMA = Schema(ROWS)
add_flags, overrides, example = _SCHEMA.add_flags, _SCHEMA.overrides, _SCHEMA.example


def load(file: str | None, overrides: Mapping[str, object] = {}) -> Config:
    """The settings of the file (None: defaults) under those of `overrides`; ConfigError if bad."""
    config: Config = built(Config, _SCHEMA.tree, _SCHEMA.load(file, overrides))
    return config
