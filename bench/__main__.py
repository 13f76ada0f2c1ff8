"""`make bench`: the figures of RESULTS.md, measured on this machine.

`make bench-compare REV=…`: the exporter of this tree and of another revision, in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import rendering
from bench.fleet import Fleet, fleet
from bench.subjects import (
    SOURCES,
    Command,
    Daemon,
    Scrape,
    Subject,
    alternate,
    compiled,
    daemon,
    exporter,
    floor,
)

SIZES = ((100, 200), (1000, 2000), (5000, 5000))
INTERVAL = 15  # seconds between scrapes, Prometheus's default is 60
HOUR = 3600 // INTERVAL  # passes
CHURN = 100  # of how many cgroups one is replaced by another between two passes
PASS_ONLY = "/metrics?name[]=nsexporter_up"  # a pass, every family rendered, one sample sent

PEERS = {
    "node_exporter (cgroups, processes)": (
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.cgroups",
        "--collector.processes",
        "--web.listen-address=127.0.0.1:PORT",
    ),
    "process-exporter": (
        "prometheus-process-exporter",
        "-procnames=sleep",
        "-web.listen-address=127.0.0.1:PORT",
    ),
}
COMMANDS = {
    "lsns": ("lsns",),
    "systemd-cgtop, one look": ("systemd-cgtop", "--batch", "--iterations=1", "--depth=20"),
}

Table = dict[str, float | str]


def measure(directory: Path, cgroups: int, processes: int, rounds: int) -> Table:
    """Row name to figure, for one size of fleet."""
    program = {name: compiled(name, directory) for name in ("fleet", "floor")}
    table: Table = {}
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(fleet(program["fleet"], cgroups, processes))
        like = made.cgroups[-1]
        stateless = stack.enter_context(floor(program["floor"], "stateless", like))
        kept = stack.enter_context(floor(program["floor"], "kept", like))
        started = time.monotonic()
        default = stack.enter_context(exporter())
        Scrape(default).run()
        table["start to first scrape, s"] = time.monotonic() - started
        table["start to first scrape, CPU ms"] = default.cpu()
        plain, gzip = Scrape(default), Scrape(default, coding="gzip")
        subjects: dict[str, Subject] = {
            "C stateless": stateless,
            "C kept": kept,
            "default pass": Scrape(default, PASS_ONLY),
            "plain scrape": plain,
            "gzip scrape": gzip,
        }
        if _has_flag("--collection.exact"):
            exact = stack.enter_context(exporter("--collection.exact"))
            subjects["exact pass"] = Scrape(exact, PASS_ONLY)
        for name, argv in PEERS.items():
            if shutil.which(argv[0]):
                subjects[name] = Scrape(stack.enter_context(daemon(*argv)))
        for name, argv in COMMANDS.items():
            if shutil.which(argv[0]):
                subjects[name] = Command(*argv)
        times = alternate(subjects, rounds, made.touch)
        table["cgroups seen"] = stateless.cgroups
        table["processes seen"] = stateless.processes
        table["files read by C"] = stateless.reads
        table["files kept open by C kept"] = kept.kept
        table |= {f"{name}, ms": used for name, used in times.items()}
        for name in ("exact pass", "default pass", "C kept", *PEERS, *COMMANDS):
            if name in times:
                table[f"{name} ÷ C stateless"] = times[name] / times["C stateless"]
        table["gzip scrape less default pass, ms"] = times["gzip scrape"] - times["default pass"]
        table[f"CPU at a {INTERVAL} s interval, %"] = times["gzip scrape"] / INTERVAL / 10
        table["two scrapers at once ÷ one"] = _at_once(default, made.touch, rounds)
        table["RSS after those, MB"] = default.rss()
        gzip.run()
        table["RSS after a gzip scrape, as Prometheus's, MB"] = default.rss()
        table["descriptors"] = default.descriptors()
        table["payload, kB"] = plain.payload / 1000
        table["payload gzip, kB"] = gzip.payload / 1000
        table |= _under_churn(made, cgroups // CHURN)
    return table


def _under_churn(made: Fleet, cgroups: int) -> Table:
    """An exporter that Prometheus scrapes for an hour, in which containers come and go."""
    table: Table = {}
    with exporter() as scraped:
        gzip = Scrape(scraped, coding="gzip")
        rss, used = [], []
        for _ in range(HOUR):
            made.churn(cgroups)
            made.touch()
            used.append(gzip.run())
            rss.append(scraped.rss())
        table["gzip scrape under churn, ms"] = statistics.median(used)
        table["RSS under churn after 1/4 hour, MB"] = rss[HOUR // 4]
        table["RSS under churn after 1/2 hour, MB"] = rss[HOUR // 2]
        table["RSS under churn after an hour, MB"] = rss[-1]
    return table


def _has_flag(flag: str) -> bool:
    shown = subprocess.run(
        [sys.executable, "-m", "nsexporter", "--help"],
        cwd=SOURCES.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return flag in shown.stdout


def _at_once(subject: Daemon, between: Callable[[], None], rounds: int) -> float:
    """CPU time of two scrapes at once, each with a pass of its own or both with one, ÷ one."""
    one, two = [], []
    for _ in range(rounds):
        between()
        one.append(Scrape(subject, PASS_ONLY).run())
        between()
        before = subject.cpu()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: Scrape(subject, PASS_ONLY).run(), range(2)))
        two.append(subject.cpu() - before)
    return statistics.median(two) / statistics.median(one)


def compare(directory: Path, revision: str, cgroups: int, processes: int, rounds: int) -> None:
    """Print pass and scrapes of this tree and of `revision`, A B B A, and their ratios."""
    other = directory / "revision"
    git = ("git", "-C", str(SOURCES.parent), "worktree")
    subprocess.run([*git, "add", "--detach", "--quiet", other, revision], check=True)
    try:
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(fleet(compiled("fleet", directory), cgroups, processes))
            now = stack.enter_context(exporter())
            then = stack.enter_context(exporter(cwd=other))
            kinds = {"pass": (PASS_ONLY,), "plain scrape": (), "gzip scrape": ("/metrics", "gzip")}
            for kind, arguments in kinds.items():
                times = alternate(
                    {"now": Scrape(now, *arguments), "then": Scrape(then, *arguments)},
                    rounds,
                    made.touch,
                )
                print(
                    f"{kind}: {times['now']:.1f} ms, {revision}: {times['then']:.1f} ms,"
                    f" ratio {times['now'] / times['then']:.2f}"
                )
            print(f"RSS: {now.rss():.1f} MB, {revision}: {then.rss():.1f} MB")
    finally:
        subprocess.run([*git, "remove", "--force", other], check=True)


def report(tables: dict[tuple[int, int], Table], rendered: Table) -> str:
    """RESULTS.md."""
    sizes = list(tables)
    lines = [
        "# What it costs",
        "",
        f"By `make bench` on Linux {platform.release()}, Python {platform.python_version()},"
        f" {os.cpu_count()} CPUs. CPU time, user and system; medians of interleaved runs."
        " A fifth of the cgroups changes between two runs; under churn, one of"
        f" {CHURN} is replaced, too, and there are {HOUR} passes in an hour.",
        "",
        "`C stateless` opens, reads and closes the same files and links as an exact pass, of the"
        " whole host, and neither parses nor prints; `C kept` keeps what RLIMIT_NOFILE allows"
        " open.",
        "",
        "| | " + " | ".join(f"{c} cgroups, {p} processes" for c, p in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    rows = dict.fromkeys(row for table in tables.values() for row in table)
    for row in rows:
        cells = [_figure(table.get(row, "-")) for table in tables.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", "| rendering alone | |", "|---|---|"]
    lines += [f"| {row} | {_figure(figure)} |" for row, figure in rendered.items()]
    return "\n".join(lines) + "\n"


def _figure(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


def main() -> None:
    """Measure and print; --output writes the table too."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--sizes",
        default=" ".join(f"{c}x{p}" for c, p in SIZES),
        help="cgroups x processes, separated by spaces",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compare", metavar="REV", help="against another revision instead")
    parser.add_argument("--output", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes.split()]
    # Whatever ends it, the fleet is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="nsexporter-bench-") as temporary:
        directory = Path(temporary)
        if arguments.compare:
            cgroups, processes = sizes[0] if len(sizes) == 1 else SIZES[1]
            compare(directory, arguments.compare, cgroups, processes, arguments.rounds)
            return
        tables = {}
        rendered: Table = {}
        for cgroups, processes in sizes:
            tables[cgroups, processes] = measure(directory, cgroups, processes, arguments.rounds)
        with fleet(compiled("fleet", directory), 1000, 100):
            rendered = {**rendering.compare(arguments.rounds)}
    text = report(tables, rendered)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
