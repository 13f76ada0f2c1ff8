"""What the OOM killer writes into the kernel log, from Linux 3.10 to 7.0: lines in, kills out.

Each kill the kernel counts gives one `Killed process` line. What precedes it is limited to ten
reports in five seconds (oom_kill_process() in mm/oom_kill.c), so a line may stand alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nsexporter.model import OomKill

_SCOPE = r"(?:(?P<scope>Memory cgroup out of memory|Out of [Mm]emory)(?: \([a-z_]+\))?: )?"
# RHEL 6 has the user before the name, RHEL 7 after it, Linux 5.3 and newer at the end. The name
# may hold anything; what follows it are fields, the last of them cut off at times.
_KILLED = re.compile(
    _SCOPE + r"Killed process (?P<pid>\d+)(?:, UID (?P<uid>\d+),)? \((?P<comm>.*)\)"
    r"(?P<rest>[,.]?(?: (?:UID[: ]\d+|[a-z_-]+:-?\d+(?:kB)?),?)*(?: [a-z_-]*:?\d*k?)?)",
    re.DOTALL,
)
_CANDIDATE = re.compile(_SCOPE + r"Kill process (?P<pid>\d+)(?:, UID \d+,)? \((?P<comm>.*)\)")
_SIZE = re.compile(r"([a-z]+(?:-[a-z]+)?):(\d+)kB")
_UID = re.compile(r"\bUID[: ](\d+)")
_ADJ = re.compile(r"oom_score_adj:(-?\d+)")
# Since Linux commit ef8444ea01d7 ("mm, oom: reorganize the oom report in dump_header") (v5.0).
_SUMMARY = re.compile(
    r"oom-kill:constraint=(?:CONSTRAINT_)?(?P<constraint>\w+)(?:,.*?)?"
    r",(?:(?P<all>global_oom),task_memcg=|oom_memcg=(?=/))(?P<names>.*)"
    r",pid=(?P<pid>\d+)(?:,uid=(?P<uid>\d+))?",
    re.DOTALL,
)
_TASK_IN = re.compile(r"Task in (?P<task>/.*) killed as a result of limit of (?P<limit>/.*)")
_GROUP = re.compile(r"Tasks in (?P<group>/.*) are going to be killed due to memory\.oom\.group set")
_SAME_GROUP = 0.05  # seconds from one line of a group kill to its next
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Report:
    """What was told of a kill before its `Killed process` line."""

    constraint: str
    names: str = ""  # of the summary line: [oom_memcg,task_memcg=]task_memcg,task=comm
    oom_memcg: str | None = None
    task_memcg: str | None = None
    pid: int | None = None
    comm: str | None = None
    uid: int | None = None
    candidate: int | None = None  # who was chosen; a child of it may have been killed instead


class Reports:
    """Puts the lines of a report together; lines of other subsystems may stand between them."""

    def __init__(self) -> None:
        self.open: list[Report] = []  # whose `Killed process` line has not come
        self._group: tuple[str, float | None] | None = None

    def line(self, text: str, time: float | None) -> OomKill | None:
        """The kill that a line of the log tells of, at `time` (seconds since the epoch)."""
        # A name that the kernel prints for somebody may hold all this: only whole lines count.
        if "ill" not in text:
            return None
        if match := _SUMMARY.fullmatch(text):
            self._add(_summary(match))
        elif match := _KILLED.fullmatch(text):
            return self._killed(match, time)
        elif match := _CANDIDATE.match(text):
            chosen = int(match["pid"])
            if self.open and self.open[-1].pid is None and self.open[-1].candidate is None:
                self.open[-1] = replace(self.open[-1], candidate=chosen)
            else:
                self._add(Report(_constraint(match["scope"]), candidate=chosen))
        elif match := _TASK_IN.fullmatch(text):
            self._add(Report("memcg", oom_memcg=match["limit"], task_memcg=match["task"]))
        elif match := _GROUP.fullmatch(text):
            self._group = match["group"], time
        elif " invoked oom-killer: " in text:
            self._group = None
        return None

    def _add(self, report: Report) -> None:
        self._group = None
        self.open.append(report)
        del self.open[:-_KEPT]

    def _killed(self, match: re.Match[str], time: float | None) -> OomKill:
        pid, comm, rest = int(match["pid"]), match["comm"], match["rest"]
        report = self._report(pid)
        if report is not None and report.names:
            report = _split(report, comm)
        uid = match["uid"] or ((told := _UID.search(rest)) and told[1])
        adj = _ADJ.search(rest)
        kill = OomKill(
            time=time,
            constraint=report.constraint if report else _constraint(match["scope"]),
            pid=pid,
            comm=comm,
            uid=int(uid) if uid else report.uid if report else None,
            oom_memcg=report.oom_memcg if report else None,
            task_memcg=report.task_memcg if report else None,
            sizes={name: int(size) * 1024 for name, size in _SIZE.findall(rest)},
            oom_score_adj=int(adj[1]) if adj else None,
        )
        return kill if report is not None else self._grouped(kill)

    def _report(self, pid: int) -> Report | None:
        for report in reversed(self.open):
            if report.pid == pid:
                self.open.remove(report)
                return report
        # The older form has no PID of the victim: the last report is this one's.
        if self.open and self.open[-1].pid is None:
            return self.open.pop()
        return None

    def _grouped(self, kill: OomKill) -> OomKill:
        """With its group, where the line follows closely on the group's line before."""
        if self._group is None:
            return kill
        group, last = self._group
        if last is not None and kill.time is not None and kill.time - last > _SAME_GROUP:
            self._group = None
            return kill
        self._group = group, kill.time
        return replace(kill, group=group)


def _constraint(scope: str | None) -> str:
    if scope is None:
        return "unknown"
    return "memcg" if scope.startswith("Memory cgroup") else "none"


def _summary(match: re.Match[str]) -> Report:
    # The constraint reads NONE for all in 5.0 and 5.1; the presence of oom_memcg tells.
    report = Report(
        constraint=match["constraint"].lower() if match["all"] else "memcg",
        names=match["names"],
        pid=int(match["pid"]),
        uid=int(match["uid"]) if match["uid"] else None,
    )
    return _split(report, None)


def _split(report: Report, comm: str | None) -> Report:
    """The names of a summary line, which may hold commas and look like fields themselves.

    The victim's name is known from its other line, or ends at the last `,task=`; the limit's
    cgroup is the victim's own or above it.
    """
    names = report.names
    if comm is not None and names.endswith(f",task={comm}"):
        memcgs = names.removesuffix(f",task={comm}")
    else:
        memcgs, _, comm = names.rpartition(",task=")
    if report.constraint != "memcg":
        return replace(report, task_memcg=memcgs, comm=comm)
    parts = memcgs.split(",task_memcg=")
    splits = [
        (",task_memcg=".join(parts[:i]), ",task_memcg=".join(parts[i:]))
        for i in range(1, len(parts))
    ]
    for limit, task in splits:
        if task == limit or task.startswith(limit.rstrip("/") + "/"):
            return replace(report, oom_memcg=limit, task_memcg=task, comm=comm)
    limit, found = splits[0] if splits else (memcgs, None)
    return replace(report, oom_memcg=limit, task_memcg=found, comm=comm)
