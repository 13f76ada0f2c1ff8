"""Arguments, logging, limits; the only module that knows all the others."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import resource
import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

from nsexporter import __version__, logs
from nsexporter import config as configuration
from nsexporter.commands.serve import serve
from nsexporter.config import Config, ConfigError
from nsexporter.config.places import check_places
from nsexporter.libc import LIBC
from nsexporter.views import terminal

log = logging.getLogger("nsexporter")


class Command(Protocol):
    """A module of nsexporter.commands."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def run(self, config: Config, arguments: argparse.Namespace) -> int:
        """Do it; the exit status."""


COMMANDS = ("dump", "ps", "explain", "lsns", "oom", "doctor", "check-config", "metrics")
_OF_ANY_HOST = ("check-config", "metrics")


class Parser(argparse.ArgumentParser):
    """One whose errors are a line, as those of the settings are, without a page of flags."""

    def __init__(self, **settings: Any) -> None:
        # For every flag that is added argparse asks how wide a terminal is, with shutil: 0.3 MB.
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=80), **settings)

    def format_help(self) -> str:
        """The page of flags, as wide as the terminal."""
        self.formatter_class = argparse.HelpFormatter
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Tell it and exit with status 2."""
        self.exit(2, f"nsexporter: {message} (try {self.prog} --help)\n")


def command(name: str) -> Command:
    """Its module, loaded now."""
    module: Any = importlib.import_module(f"nsexporter.commands.{name.replace('-', '_')}")
    found: Command = module
    return found


def parser(wanted: Collection[str] = COMMANDS) -> Parser:
    """The command line; of the commands that are not `wanted` only the names are known."""
    top = Parser(
        prog="nsexporter",
        parents=[_flags()],
        description="Prometheus exporter for the memory of every cgroup and the sharing of every"
        " namespace. Without a command it serves /metrics.",
    )
    top.add_argument("--version", action="version", version=f"nsexporter {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    common = _flags(without=("web", "security", "collection"))
    for name in COMMANDS:
        if name not in wanted:
            commands.add_parser(name)
            continue
        module = command(name)
        module.add_arguments(
            commands.add_parser(
                name,
                parents=[common],
                help=module.HELP,
                description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            )
        )
    return top


def _wanted(argv: Sequence[str]) -> Collection[str]:
    """The commands that may be meant: all take 1 MB, which serving need not pay."""
    help_is = any(word.startswith(("-h", "--h")) for word in argv)
    return COMMANDS if help_is else [name for name in COMMANDS if name in argv]


def _flags(without: Collection[str] = ()) -> Parser:
    """The flags of the settings, but for those of some sections."""
    flags = Parser(add_help=False)
    flags.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="YAML file with settings; without one the defaults hold",
        default=argparse.SUPPRESS,
    )
    configuration.add_flags(flags, without=without)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 well, 1 failed, 2 a setting is wrong, 130 interrupted (Ctrl-C)."""
    terminal.mend_streams()
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = parser(_wanted(argv)).parse_args(argv)
        path = getattr(arguments, "config_file", None)
        overrides = configuration.overrides(arguments)
        config = configuration.load(path, overrides)
        if arguments.command not in _OF_ANY_HOST:
            check_places(config, path, overrides)
        logs.configure(config.log.level, config.log.format)
        raise_descriptor_limit()
        keep_little_memory()
        gc.set_threshold(10_000)  # 700 objects come and go many times in a pass, in no cycles
        if arguments.command is not None:
            return command(arguments.command).run(config, arguments)
        return serve(config, path, overrides)
    except ConfigError as error:
        print(f"nsexporter: {error}", file=sys.stderr)
        return 2
    except terminal.OutputError as error:
        print(f"nsexporter: standard output: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def raise_descriptor_limit() -> None:
    """RLIMIT_NOFILE up to its hard limit: a descriptor is kept for every cgroup."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.debug("RLIMIT_NOFILE stays: %s", error)


def keep_little_memory() -> None:
    """One arena of glibc for all threads, which the GIL lets in one by one; given back soon."""
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(-8, 1)  # M_ARENA_MAX
        LIBC.mallopt(-1, 128 << 10)  # M_TRIM_THRESHOLD; without it the threshold grows
        LIBC.mallopt(-3, 128 << 10)  # M_MMAP_THRESHOLD; it has grown as modules were loaded
