"""What the ledger has to tell: accounts for the samples, a line of the exporter's log a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from nsexporter.model import Container, OomAccount, OomKill
from nsexporter.oom.entry import Entry

log = logging.getLogger("nsexporter.oom")


def accounts(entries: Mapping[str, Entry], wanted: Callable[[str], bool]) -> dict[str, OomAccount]:
    """Kills by the container they were in, or by the cgroup, of the cgroups that are wanted."""
    result: dict[str, OomAccount] = {}
    for cgroup, entry in entries.items():
        if entry.kills and wanted(cgroup):
            _add(result, cgroup, entry)
    return result


def tell(news: Sequence[tuple[str | None, OomKill]], entries: Mapping[str, Entry]) -> None:
    """A line in the log for each kill, and one for those of which nothing is known."""
    named = _named(news)
    for cgroup, kill in named:
        entry = entries.get(cgroup or "", Entry())
        _tell(cgroup, kill, entry.container)
    _tell_nameless(len(news) - len(named))


def tell_earlier(news: Sequence[tuple[str | None, OomKill]]) -> None:
    """One line for all kills of this boot before the start: there may be thousands."""
    named = _named(news)
    if named:
        log.info("OOM kills of this boot before the start", extra=_kills(len(named)))
    _tell_nameless(len(news) - len(named))


def _named(
    news: Sequence[tuple[str | None, OomKill]],
) -> list[tuple[str | None, OomKill]]:
    return [(cgroup, kill) for cgroup, kill in news if cgroup is not None or kill.pid]


def _tell_nameless(number: int) -> None:
    if number:
        log.warning("OOM kills of which nothing is known", extra=_kills(number))


def _kills(number: int) -> dict[str, object]:
    return {"fields": {"kills": number}}


def _add(accounts: dict[str, OomAccount], cgroup: str, entry: Entry) -> None:
    """Add an entry's kills to those of the container it lies in, or as an account of its own."""
    whose = cgroup if entry.container is None else entry.container.cgroup
    kills, last = dict(entry.kills), entry.last
    before = accounts.get(whose)
    if before is not None:
        for constraint, count in before.kills.items():
            kills[constraint] = kills.get(constraint, 0) + count
        last = max(last, before.last, key=lambda kill: kill.time or 0)
    accounts[whose] = OomAccount(
        cgroup=whose,
        container=entry.container,
        pod_name=entry.pod_name,
        pod_namespace=entry.pod_namespace,
        kills=kills,
        last=last,
    )


def _tell(cgroup: str | None, kill: OomKill, container: Container | None) -> None:
    """One line in the log for each kill."""
    fields: dict[str, object] = {
        "cgroup": cgroup,
        "container_id": container.label_id if container else None,
        "container_name": container.name if container else None,
        "pod_name": container.pod_name if container else None,
        "pod_namespace": container.pod_namespace if container else None,
        "constraint": kill.constraint,
        "time": None if kill.time is None else round(kill.time, 3),
        "pid": kill.pid,
        "task": kill.comm,
        "uid": kill.uid,
        "oom_memcg": kill.oom_memcg,
        "group": kill.group,
        "oom_score_adj": kill.oom_score_adj,
        **{f"{name.replace('-', '_')}_bytes": size for name, size in kill.sizes.items()},
    }
    known = {name: value for name, value in fields.items() if value not in (None, "")}
    log.warning(
        "OOM kill" if cgroup is not None else "OOM kill in a cgroup that nothing names",
        extra={"fields": known},
    )
