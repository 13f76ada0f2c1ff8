"""Arguments, logging, signals; the only module that knows all the others."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from nsexporter import __version__, logs
from nsexporter import config as configuration
from nsexporter.collector import Collector
from nsexporter.config import Config, ConfigError
from nsexporter.loop import Loop
from nsexporter.publication import Publication
from nsexporter.web.server import Server

log = logging.getLogger("nsexporter")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="YAML file with settings; without one the defaults hold",
        default=argparse.SUPPRESS,
    )
    configuration.add_flags(common)
    top = argparse.ArgumentParser(
        prog="nsexporter",
        parents=[common],
        description="Prometheus exporter for the memory of every cgroup and the sharing of every"
        " namespace. Without a command it serves /metrics.",
    )
    top.add_argument("--version", action="version", version=f"nsexporter {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    dump = commands.add_parser(
        "dump", parents=[common], help="make one pass, print the exposition and end"
    )
    dump.add_argument(
        "--output",
        metavar="FILE",
        default="-",
        help="write it atomically to FILE (for node_exporter's textfile collector)",
    )
    dump.add_argument("--openmetrics", action="store_true", help="OpenMetrics instead of text")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 well, 1 failed, 2 a setting is wrong."""
    arguments = parser().parse_args(argv)
    path = getattr(arguments, "config_file", None)
    try:
        overrides = configuration.overrides(arguments)
        config = configuration.load(path, overrides)
    except ConfigError as error:
        print(f"nsexporter: {error}", file=sys.stderr)
        return 2
    logs.configure(config.log.level, config.log.format)
    raise_descriptor_limit()
    if arguments.command == "dump":
        return dump(config, arguments.output, openmetrics=arguments.openmetrics)
    return serve(config, path, overrides)


def serve(config: Config, path: str | None, overrides: dict[str, object]) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the file again."""
    wake = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        wake.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    collector = Collector(config)
    loop = Loop(collector)
    publication = Publication(loop, collector, config)
    try:
        server = Server(
            publication,
            config.web.listen_addresses,
            telemetry_path=config.web.telemetry_path,
            max_connections=config.web.max_connections,
            version=__version__,
        )
    except OSError as error:
        log.error("cannot listen: %s", error)
        return 1
    with server:
        loop.start()
        server.start()
        log.info("nsexporter %s listens on %s", __version__, ", ".join(server.addresses))
        while True:
            wake.wait()
            wake.clear()
            while received:
                sent = signal.Signals(received.pop(0))
                if sent != signal.SIGHUP:
                    log.info("ends on %s", sent.name)
                    loop.stop(timeout=0.3)
                    return 0
                reload(publication, loop, path, overrides)


def reload(
    publication: Publication, loop: Loop, path: str | None, overrides: dict[str, object]
) -> None:
    """Read the file again; where it is wrong, the old settings stay."""
    try:
        config = configuration.load(path, overrides)
    except ConfigError as error:
        log.error("the configuration was not reloaded: %s", error)
        publication.reload_success = False
        return
    if config.web != publication.config.web:
        log.warning("changes of web.* take effect after a restart")
    logs.configure(config.log.level, config.log.format)
    collector = Collector(config)
    collector.reader.errors = publication.collector.reader.errors
    publication.collector, publication.config = collector, config
    publication.reload_success, publication.reload_time = True, time.time()
    loop.reload(collector)
    log.info("the configuration was reloaded")


def dump(config: Config, output: str, *, openmetrics: bool) -> int:
    """One pass to standard output, or atomically to a file."""
    collector = Collector(config)
    loop = Loop(collector)
    published = loop.once()
    if published is None:
        return 1
    chunks = Publication(loop, collector, config).chunks(published, openmetrics=openmetrics)
    if output == "-":
        try:
            sys.stdout.buffer.writelines(chunks)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever read it has seen enough. The interpreter would complain at exit otherwise.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    try:
        write_atomically(Path(output), chunks)
    except OSError as error:
        log.error("cannot write %s: %s", output, error)
        return 1
    return 0


def write_atomically(path: Path, chunks: Sequence[bytes]) -> None:
    """The chunks as a file that is there whole or not at all, readable by all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.writelines(chunks)
            new.flush()
            os.fchmod(new.fileno(), 0o644)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise


def raise_descriptor_limit() -> None:
    """RLIMIT_NOFILE up to its hard limit: a descriptor is kept for every cgroup."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.debug("RLIMIT_NOFILE stays: %s", error)
