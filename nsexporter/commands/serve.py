"""Serve /metrics until a signal ends it; the default command."""

from __future__ import annotations

import logging
import signal
import time

from nsexporter import __version__, logs
from nsexporter import config as configuration
from nsexporter.collector import Collector
from nsexporter.config import Config, ConfigError
from nsexporter.config.places import check_places
from nsexporter.kernel import mounts
from nsexporter.kernel.files import Reader
from nsexporter.kernel.procfs import Procfs
from nsexporter.loop import Loop
from nsexporter.oom.feed import Feed
from nsexporter.oom.watcher import Watcher
from nsexporter.publication import Publication
from nsexporter.sandbox import Sandbox, held, landlock
from nsexporter.selfmetrics import Values
from nsexporter.systemd import Notify
from nsexporter.web import address
from nsexporter.web.connection import Limits
from nsexporter.web.routes import Routes
from nsexporter.web.security import Security
from nsexporter.web.server import Server

log = logging.getLogger("nsexporter")

_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def serve(config: Config, path: str | None, overrides: dict[str, object]) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the file again.

    ConfigError where the web configuration file is wrong.
    """
    # Blocked in every thread and fetched by this one: a handler would not run when its signal
    # comes just before the main thread sleeps in a lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    notify = Notify()
    security = Security(config.web.config_file)
    if config.security.landlock != "off":
        overrides = overrides | _held(config)
        config = configuration.load(path, overrides)
    feed = Feed(config.oom, Procfs(Reader(), config.path.procfs), follow=True)
    sandbox = Sandbox()
    try:
        listeners = address.passed() or [
            listener for one in config.web.listen_addresses for listener in address.listen(one)
        ]
    except OSError as error:
        log.error("cannot listen: %s", error)
        return 1
    if not _confine(sandbox, config, feed):
        return 1
    lines = logs.Lines()  # its thread is confined like all that follow
    logs.configure(config.log.level, config.log.format, lines)
    collector = Collector(config, feed, sandbox.reading)
    loop = Loop(collector)
    publication = Publication(loop, collector, config)
    server = Server(
        Routes(publication, config.web.telemetry_path),
        listeners,
        security,
        Limits(connections=config.web.max_connections),
    )
    watcher = Watcher(
        feed,
        loop.look,
        lambda cgroup, identity: publication.collector.containers.metadata.ahead(cgroup, identity),
        lambda: _hierarchies(config),
    )
    publication.served = lambda: _values(server, security, sandbox, lines)
    with server:
        where = f"listens on {', '.join(server.addresses)}"
        log.info("nsexporter %s %s", __version__, where)
        loop.start()
        watcher.start()
        server.start()
        notify.ready(where)
        while (sent := _signal(notify, server, loop)) == signal.SIGHUP:
            notify.reloading()
            reload(publication, loop, path, overrides, lines)
            notify.ready(where)
        notify.stopping()
        log.info("ends on %s", signal.Signals(sent).name)
        watcher.stop()
        loop.stop(timeout=0.3)
        feed.close()
        return 0


def _confine(sandbox: Sandbox, config: Config, feed: Feed) -> bool:
    """Enter the sandbox; False where it has to be and cannot."""
    if config.security.landlock == "off":
        return True
    needed = config.security.landlock == "on"
    try:
        sandbox.enter(_writable(config, feed))
    except OSError as error:
        level = logging.ERROR if needed else logging.INFO
        log.log(level, "not confined by Landlock: %s", error)
        return not needed
    return True


def _signal(notify: Notify, server: Server, loop: Loop) -> int:
    """The next signal; meanwhile the service manager is told that we work, as long as we do."""
    every = notify.watchdog
    if every is None:
        return signal.sigwait(_SIGNALS)
    while True:
        if server.responds(every / 4) and loop.alive:
            notify.alive()
        sent = signal.sigtimedwait(_SIGNALS, every / 4)
        if sent is not None:
            return sent.si_signo


def _held(config: Config) -> dict[str, object]:
    """Settings that are places behind /proc/PID/root, as they can be reached when confined."""
    places: dict[str, object] = {}
    for name in ("procfs", "sysfs", "rootfs"):
        place = getattr(config.path, name)
        try:
            reached = held(place)
        except OSError as error:
            log.warning("path.%s: %s", name, error)
            continue
        if reached != place:
            places[f"path.{name}"] = reached
    return places


def _hierarchies(config: Config) -> mounts.Hierarchies:
    return mounts.find(Reader(), config.path.procfs, config.path.sysfs, config.path.rootfs)


def _writable(config: Config, feed: Feed) -> dict[str, int]:
    """What the settings have the exporter write: directories, and the rights needed below them."""
    memory, sysfs = config.collectors.memory, config.path.sysfs
    found = _hierarchies(config)
    rights: dict[str, int] = {}
    if feed.state_file is not None:
        rights[str(feed.state_file.parent)] = landlock.REPLACE
    writes = memory.pressure_notifications or memory.reset_peak or config.oom.max_watches
    if writes and found.memory is not None:
        # cgroup.event_control (v1) and memory.peak; no right to make or remove a cgroup.
        rights[found.memory] = landlock.WRITE_FILE
    if memory.soft_limit_trace:
        instances = f"{sysfs}/kernel/tracing/instances"
        rights[instances] = landlock.WRITE_FILE | landlock.MAKE_DIR | landlock.REMOVE_DIR
    return rights


def _values(server: Server, security: Security, sandbox: Sandbox, lines: logs.Lines) -> Values:
    """What the exporter tells of the server, of its own confinement and of its log."""
    return {
        "nsexporter_log_lines_dropped_total": [((), lines.dropped)],
        "nsexporter_landlock_version": [((), sandbox.version)],
        "nsexporter_web_config_last_reload_successful": [((), int(security.reload_success))],
        "nsexporter_web_connections": [((), server.connections)],
        "nsexporter_web_connections_dropped_total": [
            ((reason,), count) for reason, count in sorted(server.dropped.items())
        ],
        "nsexporter_web_responses_total": [
            ((str(status),), count) for status, count in sorted(server.responses.items())
        ],
    }


def reload(
    publication: Publication,
    loop: Loop,
    path: str | None,
    overrides: dict[str, object],
    lines: logs.Lines,
) -> None:
    """Read the file again; where it is wrong, the old settings stay."""
    try:
        config = configuration.load(path, overrides)
        check_places(config, path, overrides)
    except ConfigError as error:
        log.error("the configuration was not reloaded: %s", error)
        publication.reload_success = False
        return
    for section in ("path", "web", "security"):
        if getattr(config, section) != getattr(publication.config, section):
            log.warning("changes of %s.* take full effect after a restart", section)
    logs.configure(config.log.level, config.log.format, lines)
    feed = publication.collector.oom
    if config.oom != feed.settings:
        log.warning("changes of oom.* take effect after a restart")
    collector = Collector(config, feed, publication.collector.reading)
    collector.inherit(publication.collector)
    collector.containers.metadata.errors.update(publication.collector.containers.metadata.errors)
    publication.collector, publication.config = collector, config
    publication.reload_success, publication.reload_time = True, time.time()
    loop.reload(collector)
    log.info("the configuration was reloaded")
