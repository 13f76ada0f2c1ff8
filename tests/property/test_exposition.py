"""Whatever the host's names are: what is rendered reads back as what the snapshot says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from nsexporter import exposition
from nsexporter.catalogue import METRICS
from nsexporter.families.columns import Columns, Memo
from nsexporter.gzip import plain
from nsexporter.kernel.parse import text_of
from nsexporter.model import Cgroup, Container, Identity, Namespace, Snapshot
from tests.snapshots import NOTHING

# Small and hostile: what formats separate, quote and escape with, and bytes that are not UTF-8.
NAMES = st.text(alphabet="\\\"\n{},=/né '#x\u2028\udcff", min_size=1, max_size=8).map(text_of)
NUMBERS = st.integers(0, 2**63 - 1).map(lambda n: b"%d" % n)
LIMITS = st.one_of(NUMBERS, st.sampled_from([b"max", b"9223372036854771712"]))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Some cgroups of one kernel, some of them containers, files present or not."""
    cgroups = []
    containers = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        path = f"/{name}"
        container = None
        if draw(st.booleans()):
            container_id = f"{name} of its own"
            container = Container(
                container_id=container_id,
                label_id=container_id,
                runtime="docker",
                cgroup=path,
                pod_uid=draw(st.sampled_from(["", "one", "two"])),
            )
            containers.append(container)
        files = {
            "memory.current": draw(NUMBERS),
            "memory.max": draw(LIMITS),
            "memory.stat": b"anon %b\nfile %b\n" % (draw(NUMBERS), draw(NUMBERS)),
            "memory.events.local": b"max %b\noom_kill %b" % (draw(NUMBERS), draw(NUMBERS)),
        }
        for absent in draw(st.sets(st.sampled_from(sorted(files)))):
            del files[absent]
        cgroups.append(
            Cgroup(
                path=path,
                parent=-1,
                identity=Identity(
                    kind="container" if container else "other",
                    container_id=container.container_id if container else None,
                    runtime="docker" if container else None,
                ),
                container=container,
                files=files,
            )
        )
    return of(cgroups, draw(namespaces([one.container_id for one in containers])))


def of(cgroups: Sequence[Cgroup], namespaces: Sequence[Namespace]) -> Snapshot:
    containers = tuple(cgroup.container for cgroup in cgroups if cgroup.container is not None)
    return replace(
        NOTHING,
        cgroups=tuple(cgroups),
        containers=containers,
        label_ids={one.container_id: one.label_id for one in containers},
        namespaces=tuple(namespaces),
        host_namespaces={"net": 1},
    )


@st.composite
def namespaces(draw: st.DrawFn, containers: Sequence[str]) -> list[Namespace]:
    """Some namespaces of two types, with any of the containers in each."""
    inside = st.frozensets(st.sampled_from(containers)) if containers else st.just(frozenset())
    return [
        Namespace(
            ns_type=ns_type,
            inode=inode,
            processes=1,
            threads=draw(st.integers(0, 1)),
            kinds=draw(st.sampled_from((frozenset(("service",)), frozenset(("", "service"))))),
            containers=draw(inside),
            uid_map=draw(st.sampled_from(((), ((0, 0, 1),)))),
            without_process_since=draw(st.sampled_from((None, 0.0, -100_000.0))),
        )
        for ns_type in ("net", "user")
        for inode in range(1, draw(st.integers(2, 4)))
    ]


def expected(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """(family, cgroup) to value, straight from the files."""
    values: dict[tuple[str, str], float] = {}
    for cgroup in snapshot.cgroups:
        files = cgroup.files
        if "memory.current" in files:
            values["usage_bytes", cgroup.path] = float(files["memory.current"])
        if (limit := files.get("memory.max")) is not None:
            unlimited = limit == b"max" or int(limit) >= 2**63 - 65536
            values["limit_bytes", cgroup.path] = float("inf") if unlimited else float(limit)
        if (events := files.get("memory.events.local")) is not None:
            words = events.split()
            values["failcnt_total", cgroup.path] = float(words[1])
            values["oom_kills_total", cgroup.path] = float(words[3])
        if (stat := files.get("memory.stat")) is not None:
            values["anon_bytes", cgroup.path] = float(stat.split()[1])
    return values


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(snapshots(), snapshots())
def test_a_pass_rendered_after_others_is_what_it_is_alone(a: Snapshot, b: Snapshot) -> None:
    there = {cgroup.path for cgroup in b.cgroups}
    both = of([*(one for one in a.cgroups if one.path not in there), *b.cgroups], b.namespaces)
    other = b.cgroups[0]
    changed = replace(a.cgroups[-1], files=other.files)
    partly = of([*a.cgroups[:-1], changed], a.namespaces)
    pods = [
        replace(one, container=one.container and replace(one.container, pod_uid="one"))
        for one in a.cgroups
    ]
    of_one_pod = of(pods, a.namespaces)
    mounted = replace(a.namespaces[0], processes=0, held_by="mount", path="/run/netns/a")
    moved = of(a.cgroups, [mounted, *a.namespaces[2:]])
    later = replace(moved, timestamp=moved.timestamp + 100_000, host_namespaces={"user": 2})
    later = replace(later, namespace_holders=("mount",), namespace_limits={"net": 2})
    memo: Memo = {}
    before: list[exposition.Family] = []
    for snapshot in (a, both, both, b, a, partly, a, moved, later, moved, of_one_pod):
        columns, alone = Columns(snapshot, memo), Columns(snapshot)
        families = exposition.render(columns, METRICS)
        assert families == exposition.render(alone, METRICS)
        assert columns.malformed == alone.malformed
        # What is equal is the same object, so that it is not compressed again.
        kept = {family.name: family for family in before}
        assert all(kept.get(one.name) is one for one in families if kept.get(one.name) == one)
        before = families


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(snapshots())
def test_peers_of_a_container_are_those_that_share_a_namespace(snapshot: Snapshot) -> None:
    families = exposition.render(Columns(snapshot), METRICS)
    shown = {
        (sample.name, sample.labels["container_id"], sample.labels["ns_type"]): sample.value
        for family in text_string_to_metric_families(plain(exposition.text(families)).decode())
        for sample in family.samples
        if re.match("nsexporter_container_(namespace_peers|host_namespace)", sample.name)
    }
    wanted = {}
    for one in snapshot.containers:
        for ns_type in ("net", "user"):
            own = [
                namespace
                for namespace in snapshot.namespaces
                if namespace.ns_type == ns_type and one.container_id in namespace.containers
            ]
            if not own:
                continue
            key = (one.label_id, ns_type)
            peers = [
                other
                for other in snapshot.containers
                if other is not one and any(other.container_id in n.containers for n in own)
            ]
            wanted["nsexporter_container_namespace_peers", *key] = len(peers)
            if ns_type == "net":
                apart = [n for n in own if n.inode != 1]
                strangers = [
                    other
                    for other in peers
                    if any(other.container_id in n.containers for n in apart)
                    and (not one.pod_uid or one.pod_uid != other.pod_uid)
                ]
                name = "nsexporter_container_namespace_peers_outside_pod"
                wanted[name, *key] = len(strangers)
                wanted["nsexporter_container_host_namespace", *key] = len(own) - len(apart)
    assert shown == wanted


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(snapshots())
def test_what_is_rendered_reads_back_in_both_formats(snapshot: Snapshot) -> None:
    families = exposition.render(Columns(snapshot), METRICS)
    text = plain(exposition.text(families)).decode()
    openmetrics = plain(exposition.openmetrics(families)).decode() + "# EOF\n"
    wanted = expected(snapshot)
    for parsed in (text_string_to_metric_families(text), openmetrics_families(openmetrics)):
        samples = [sample for family in parsed for sample in family.samples]
        assert len(samples) == sum(plain(family.bodies).count(b"\n") for family in families)
        shown = {
            (sample.name.removeprefix("nsexporter_cgroup_memory_"), sample.labels["cgroup"]): (
                float(sample.value)
            )
            for sample in samples
            if "cgroup" in sample.labels
        }
        assert {key: shown.get(key) for key in wanted} == wanted
        ids = {
            sample.labels["cgroup"]: sample.labels["container_id"]
            for sample in samples
            if sample.name == "nsexporter_container_info"
        }
        assert ids == {one.cgroup: one.label_id for one in snapshot.containers}
