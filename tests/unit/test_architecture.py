"""Data flows one way: no module imports one that is further down the line."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import nsexporter

PACKAGE = Path(nsexporter.__file__).parent

# Module to what of ours it imports.
IMPORTS = {
    "__init__": set(),
    "__main__": {"cli"},
    "model": set(),
    "config.errors": set(),
    "config.yamlfile": {"config.errors"},
    "config.settings": {"config.errors", "config.yamlfile"},
    "config.__init__": {"config.errors", "config.settings"},
    "config.places": {"config", "config.errors"},
    "logs": set(),
    "libc": set(),
    "kernel.files": set(),
    "kernel.parse": set(),
    "kernel.itself": {"kernel.files"},
    "kernel.mounts": {"kernel.files", "kernel.parse"},
    "kernel.discovery": {"kernel.files", "kernel.inotify"},
    "kernel.interface_files": set(),
    "kernel.texts": set(),
    "kernel.cgroup": {
        "kernel.discovery",
        "kernel.interface_files",
        "kernel.parse",
        "kernel.texts",
    },
    "kernel.cgroup_files": {
        "kernel.cgroup",
        "kernel.discovery",
        "kernel.files",
        "kernel.interface_files",
        "kernel.mounts",
    },
    "kernel.kept": {
        "kernel.cgroup",
        "kernel.cgroup_files",
        "kernel.files",
        "kernel.interface_files",
    },
    "kernel.arrangement": {"kernel.cgroup"},
    "kernel.cgroupfs": {
        "kernel.arrangement",
        "kernel.cgroup",
        "kernel.cgroup_files",
        "kernel.discovery",
        "kernel.files",
        "kernel.interface_files",
        "kernel.kept",
        "kernel.mounts",
        "kernel.parse",
    },
    "kernel.eventfd": set(),
    "oom.__init__": set(),
    "oom.suspects": {"model"},
    "oom.entry": {"model"},
    "oom.hierarchical": set(),
    "oom.total": set(),
    "oom.ledger": {"model", "oom.entry", "oom.hierarchical", "oom.suspects", "oom.total"},
    "oom.account": {"model", "oom.entry"},
    "oom.state": {
        "model",
        "oom.entry",
        "oom.hierarchical",
        "oom.ledger",
        "oom.suspects",
        "storage",
    },
    "oom.counters": {"kernel.cgroup", "kernel.parse"},
    "oom.feed": {
        "changed",
        "config",
        "kernel.cgroup",
        "kernel.files",
        "kernel.kmsg",
        "kernel.mounts",
        "kernel.oom_report",
        "kernel.procfs",
        "model",
        "oom.account",
        "oom.counters",
        "oom.entry",
        "oom.ledger",
        "oom.state",
    },
    "oom.watcher": {
        "containers.identity",
        "kernel.cgroup_events",
        "kernel.files",
        "kernel.mounts",
        "kernel.parse",
        "model",
        "oom.feed",
    },
    "kernel.cgroup_events": {
        "kernel.eventfd",
        "kernel.files",
        "kernel.inotify",
        "kernel.parse",
    },
    "kernel.kmsg": {"kernel.parse"},
    "kernel.oom_report": {"model"},
    "kernel.host": {"kernel.files", "kernel.parse"},
    "kernel.inotify": {"libc"},
    "kernel.pids": {"kernel.files"},
    "kernel.processes": {"kernel.files", "kernel.parse", "kernel.pids", "model"},
    "kernel.procfs": {"kernel.files", "kernel.parse", "kernel.processes", "model"},
    "kernel.listns": {"libc"},
    "kernel.nsfs": {"kernel.files", "kernel.listns", "kernel.parse", "model"},
    "containers.layouts": set(),
    "containers.identity": {"model", "containers.layouts"},
    "containers.mountinfo": {"model", "containers.identity", "containers.layouts"},
    "containers.state": set(),
    "containers.source": {"model", "containers.state"},
    "containers.bolt": set(),
    "containers.containerd": {"model", "containers.bolt", "containers.source", "containers.state"},
    "containers.crio": {"model", "containers.source", "containers.state"},
    "containers.docker": {"model", "containers.source", "containers.state"},
    "containers.engine": {
        "model",
        "containers.docker",
        "containers.source",
        "containers.state",
    },
    "containers.lxc": {"model", "containers.source", "containers.state"},
    "containers.machined": {"model", "containers.source", "containers.state"},
    "containers.oci": {"model", "containers.source", "containers.state"},
    "containers.podman": {"model", "containers.bolt", "containers.source", "containers.state"},
    "containers.changes": {"containers.state", "kernel.inotify"},
    "containers.metadata": {"model", "containers.changes", "containers.source", "containers.state"},
    "containers.sources": {
        "config",
        "containers.mapping",
        "containers.metadata",
        "containers.source",
        "containers.state",
        "containers.units",
        "containers.containerd",
        "containers.crio",
        "containers.docker",
        "containers.engine",
        "containers.lxc",
        "containers.machined",
        "containers.oci",
        "containers.podman",
    },
    "containers.guess": {"model", "containers.mountinfo"},
    "containers.units": {"model", "containers.state"},
    "containers.mapping": {
        "changed",
        "model",
        "containers.identity",
        "containers.metadata",
        "containers.oci",
        "containers.source",
        "containers.units",
    },
    "cgroups": {
        "changed",
        "kernel.cgroup",
        "kernel.files",
        "kernel.interface_files",
        "kernel.parse",
        "model",
    },
    "collector": {
        "changed",
        "cgroups",
        "config",
        "edge",
        "model",
        "kernel.mounts",
        "kernel.parse",
        "kernel.files",
        "kernel.cgroup",
        "kernel.cgroupfs",
        "kernel.processes",
        "kernel.procfs",
        "kernel.host",
        "kernel.nsfs",
        "kernel.hugetlb",
        "containers.guess",
        "containers.mapping",
        "containers.sources",
        "namespaces",
        "oom.feed",
    },
    "namespaces.inside": {"kernel.processes", "model"},
    "namespaces.described": {"kernel.nsfs", "kernel.processes", "namespaces.inside"},
    "namespaces.holders": {"kernel.nsfs", "kernel.processes", "namespaces.inside"},
    "namespaces.__init__": {
        "config",
        "kernel.nsfs",
        "kernel.processes",
        "kernel.procfs",
        "model",
        "namespaces.described",
        "namespaces.holders",
        "namespaces.inside",
    },
    "kernel.sampling": set(),
    "kernel.pressure_level": {"kernel.eventfd"},
    "kernel.tracefs": set(),
    "edge": {
        "changed",
        "config",
        "model",
        "kernel.cgroup",
        "kernel.parse",
        "kernel.pressure_level",
        "kernel.sampling",
        "kernel.tracefs",
    },
    "changed": set(),
    "families.cells": {"changed", "kernel.parse", "kernel.texts", "model"},
    "families.columns": {"changed", "families.cells", "families.labels", "model", "kernel.parse"},
    "families.labels": {"model"},
    "families.derived": {"families.columns", "model"},
    "families.protection": {"families.columns", "families.derived"},
    "families.samples": {"families.columns", "families.derived", "families.labels"},
    "families.killed": {
        "model",
        "families.columns",
        "families.derived",
        "families.labels",
        "families.samples",
    },
    "catalogue.oom": {"catalogue.rows", "families.killed", "families.labels"},
    "families.sharing": {"model", "families.columns", "families.labels", "families.samples"},
    "families.peers": {
        "model",
        "families.columns",
        "families.derived",
        "families.labels",
        "families.samples",
        "families.sharing",
    },
    "catalogue.rows": {
        "families.columns",
        "families.derived",
        "families.samples",
        "kernel.interface_files",
    },
    "catalogue.memory": {"catalogue.rows", "families.derived"},
    "kernel.hugetlb": set(),
    "families.breakdown": {
        "families.columns",
        "families.derived",
        "families.labels",
        "families.samples",
    },
    "catalogue.breakdown": {"catalogue.rows", "families.breakdown", "families.labels"},
    "catalogue.limits": {"catalogue.rows", "families.derived", "families.protection"},
    "catalogue.reclaim": {"catalogue.rows", "families.derived", "kernel.pressure_level"},
    "catalogue.pids": {"catalogue.rows", "families.derived"},
    "families.cadvisor": {
        "families.columns",
        "families.derived",
        "families.labels",
        "model",
        "families.samples",
    },
    "catalogue.cadvisor": {
        "families.cadvisor",
        "catalogue.rows",
        "families.columns",
        "families.derived",
        "families.samples",
    },
    "catalogue.host": {"catalogue.rows", "families.samples", "families.labels"},
    "catalogue.namespaces": {
        "catalogue.rows",
        "families.labels",
        "families.peers",
        "families.sharing",
    },
    "catalogue.__init__": {
        "catalogue.rows",
        "catalogue.cadvisor",
        "catalogue.limits",
        "catalogue.reclaim",
        "catalogue.breakdown",
        "catalogue.memory",
        "catalogue.pids",
        "catalogue.host",
        "catalogue.oom",
        "catalogue.namespaces",
    },
    "exposition": {
        "catalogue.rows",
        "families.columns",
        "families.labels",
        "families.samples",
        "gzip",
    },
    "loop": {"collector", "model"},
    "selfmetrics": {"exposition", "families.labels", "gzip", "kernel.itself"},
    "reference": {
        "config",
        "catalogue",
        "catalogue.rows",
        "catalogue.host",
        "catalogue.breakdown",
        "catalogue.namespaces",
        "catalogue.oom",
        "families.labels",
        "selfmetrics",
    },
    "sandbox.landlock": {"libc"},
    "sandbox.seccomp": {"libc", "sandbox.landlock"},
    "sandbox.__init__": {"sandbox.landlock", "sandbox.seccomp"},
    "systemd": set(),
    "storage": set(),
    "gzip": {"libc"},
    "views.units": set(),
    "views.terminal": {"views.units"},
    "views.outlook": {"families.columns", "families.derived", "families.protection", "views.units"},
    "views.explanation": {
        "catalogue",
        "families.columns",
        "model",
        "views.outlook",
        "views.overview",
    },
    "views.overview": {
        "capability",
        "families.columns",
        "families.derived",
        "kernel.host",
        "model",
        "families.sharing",
    },
    "capability": {"model"},
    "commands.__init__": set(),
    "publication": {
        "gzip",
        "libc",
        "capability",
        "catalogue",
        "collector",
        "loop",
        "families.columns",
        "config",
        "exposition",
        "views.overview",
        "kernel.itself",
        "selfmetrics",
        "web.docs",
        "web.document",
        "web.http1",
        "web.pages",
        "web.routes",
        "__init__",
    },
    "web.document": {"views.units"},
    "web.docs": {"reference", "web.document"},
    "web.pages": {"model", "views.overview", "views.units", "web.document", "web.routes"},
    "web.address": set(),
    "web.http1": {"gzip"},
    "web.workers": set(),
    "web.connection": {"gzip", "web.http1"},
    "web.routes": {"web.http1"},
    "web.auth": set(),
    "web.tls": {"web.connection"},
    "web.webconfig": {"config.settings", "web.tls"},
    "web.security": {
        "web.auth",
        "web.connection",
        "web.http1",
        "web.tls",
        "web.webconfig",
        "config.errors",
    },
    "web.listeners": {"web.address"},
    "web.verifier": {"web.connection", "web.http1", "web.workers"},
    "web.server": {
        "libc",
        "web.listeners",
        "web.verifier",
        "web.connection",
        "web.http1",
        "web.routes",
        "web.security",
        "web.workers",
    },
    "kernel.__init__": set(),
    "families.__init__": set(),
    "views.__init__": set(),
    "containers.__init__": set(),
    "web.__init__": set(),
}

OPENING = {"open", "read_bytes", "read_text", "listdir", "scandir", "readlink", "iterdir", "glob"}
# Modules outside of kernel/ that open files, none of them the kernel's.
OTHERS = {
    "config.yamlfile",
    "containers.containerd",  # through containers.state
    "containers.podman",
    "containers.state",
    "oom.state",
    "reference",  # docs/metrics.md
    "sandbox.__init__",  # the directories that may be written to
    "sandbox.landlock",
    "storage",  # what dump is told to write to
    "views.terminal",  # /dev/null
    "web.document",  # the pages' own files
}


def imports(path: Path) -> set[str]:
    """What of ours a module imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "nsexporter":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("nsexporter."):
                base = node.module.removeprefix("nsexporter.")
                # `from nsexporter.kernel import parse` imports a module of the package.
                for alias in node.names:
                    inside = PACKAGE / base.replace(".", "/") / f"{alias.name}.py"
                    found.add(f"{base}.{alias.name}" if inside.exists() else base)
        elif isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("nsexporter.")
                for a in node.names
                if a.name.startswith("nsexporter.")
            }
    return {"__init__" if name == "__version__" else name for name in found}


def test_a_module_imports_what_the_table_says() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name == "cli" or name.startswith("commands."):
            continue  # they put the others together
        assert imports(path) == IMPORTS[name], name


def test_no_module_imports_one_that_imports_it() -> None:
    TopologicalSorter(
        {name.removesuffix(".__init__"): of_it for name, of_it in IMPORTS.items()}
    ).prepare()


def test_only_kernel_opens_kernel_files() -> None:
    opening = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in OPENING
    }
    assert {name for name in opening if not name.startswith("kernel.")} == OTHERS


def test_serving_by_default_loads_nothing_that_only_some_need() -> None:
    """Each takes megabytes as long as the exporter runs: they are loaded where they are used."""
    ours = ["nsexporter.commands.explain", "nsexporter.views.overview", "nsexporter.web.pages"]
    heavy = ["psutil", "sqlite3", "yaml", "ssl", "hashlib", "shutil", "email", "http.client", *ours]
    code = f"import sys, nsexporter.cli; print(*sys.modules.keys() & {heavy})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
