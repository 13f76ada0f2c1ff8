"""What a scrape gets: the last pass rendered once, in the format and coding it asks for."""

from __future__ import annotations

import gc
import logging
import platform
import threading
import time
from collections.abc import Callable

from nsexporter import __version__, capability, exposition, libc
from nsexporter.catalogue import CADVISOR_METRICS, METRICS
from nsexporter.collector import Collector
from nsexporter.config import Config
from nsexporter.exposition import Family
from nsexporter.families.columns import Columns, Memo
from nsexporter.gzip import Chunk, Gzip, Part
from nsexporter.kernel.itself import itself
from nsexporter.loop import Loop, Published
from nsexporter.selfmetrics import Values, families, of_process
from nsexporter.web.http1 import Response
from nsexporter.web.routes import DOCS

log = logging.getLogger(__name__)

_LISTS = 8  # passes in which Python's lists of free objects fill
_CYCLES = 240  # passes between two looks for objects that refer to each other only
_PAGE_BUDGET = 5.0  # seconds a person waits for a fresh pass
_TYPES = {False: exposition.TEXT, True: exposition.OPENMETRICS}


class Publication:
    """Answers scrapes from the loop's passes; the web server's application."""

    def __init__(self, loop: Loop, collector: Collector, config: Config) -> None:
        self._loop = loop
        self.collector = collector
        self.config = config
        self.reload_success = True
        self.reload_time = time.time()
        self.served: Callable[[], Values] = dict  # what the server tells of itself
        self._lock = threading.Lock()
        self._rendered: tuple[int, list[Family]] | None = None
        self._memo: Memo = {}
        self._gzip = Gzip()

    def ready(self) -> bool:
        """Whether a pass has ended well and the newest did."""
        return self._loop.healthy

    def page(self, path: str) -> Response:
        """What every metric means, or the status of a pass that is not old."""
        # Loaded for the first one who looks: it takes 1 MB, which scrapes need not pay.
        from nsexporter.views import overview
        from nsexporter.web import docs, pages
        from nsexporter.web.document import policy

        web = self.config.web
        if path == DOCS:
            body = docs.docs(web.telemetry_path, __version__)
        elif web.disable_status_page:
            body = pages.landing(web.telemetry_path, __version__)
        else:
            published = self._loop.fresh(self.config.collection.max_age, _PAGE_BUDGET)
            if published is None:
                return Response(503, "text/plain; charset=utf-8", [b"no pass has ended yet\n"])
            shown = overview.status(
                Columns(published.snapshot),
                self.collector.host,
                version=__version__,
                telemetry_path=web.telemetry_path,
            )
            body = pages.status_page(shown)
        headers = (
            ("Content-Security-Policy", policy()),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        )
        return Response(200, "text/html; charset=utf-8", [body], headers)

    def metrics(
        self, *, openmetrics: bool, gzip: bool, names: frozenset[str], budget: float | None
    ) -> Response:
        """The exposition of a pass no older than collection.max_age, else of the last one."""
        published = self._loop.fresh(self.config.collection.max_age, budget)
        if published is None:
            return Response(503, "text/plain; charset=utf-8", [b"no pass has ended yet\n"])
        body = self.parts(published, openmetrics=openmetrics, names=names, gzip=gzip)
        headers: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if gzip:
            body = [*self._gzip.member(body)]
            headers += (("Content-Encoding", "gzip"),)
        return Response(200, _TYPES[openmetrics], body, headers)

    def parts(
        self,
        published: Published,
        *,
        openmetrics: bool,
        names: frozenset[str] = frozenset(),
        gzip: bool = False,
    ) -> list[Part]:
        """The exposition in parts, only of the families called `names` where there are some."""
        rendered = self._families(published, gzip=gzip and not names)
        rendered += families(self._values(published))
        if names:
            rendered = [family for family in rendered if family.named(names)]
        if openmetrics:
            return [*exposition.openmetrics(rendered), b"# EOF\n"]
        return exposition.text(rendered)

    def _families(self, published: Published, *, gzip: bool) -> list[Family]:
        """The pass rendered, once for all who scrape it, and compressed where the first asks so."""
        with self._lock:
            if self._rendered is None or self._rendered[0] != published.number:
                columns = Columns(published.snapshot, self._memo)
                enabled = self.config.collectors
                off = {
                    group
                    for group in ("memory", "pids", "pressure", "namespaces", "numa", "hugetlb")
                    if not getattr(enabled, group).enabled
                }
                rows = [metric for metric in METRICS if metric.group not in off]
                if self.config.compat.cadvisor:
                    rows += CADVISOR_METRICS
                chunk = self._gzip.chunk if gzip else Chunk
                rendered = exposition.render(columns, rows, chunk)
                for name, count in columns.malformed.items():
                    self.collector.reader.errors[name.partition(".")[0], "malformed"] += count
                self._rendered = (published.number, rendered)
                _give_back(published.number)
            return [*self._rendered[1]]

    def _values(self, published: Published) -> Values:
        collector, snapshot = self.collector, published.snapshot
        health = collector.health
        return {
            "nsexporter_build_info": [((__version__, platform.python_version(), ""), 1)],
            "nsexporter_pass_duration_seconds": [((), snapshot.duration)],
            "nsexporter_last_pass_timestamp_seconds": [((), snapshot.timestamp)],
            "nsexporter_passes_total": [((), published.number)],
            "nsexporter_up": [((), int(self._loop.healthy))],
            "nsexporter_collector_success": [
                ((name,), int(ok)) for name, ok in sorted(health.success.items())
            ],
            "nsexporter_collector_duration_seconds": [
                ((name,), seconds) for name, seconds in sorted(health.seconds.items())
            ],
            "nsexporter_read_errors_total": [
                (key, count) for key, count in sorted(collector.reader.errors.items())
            ],
            "nsexporter_metadata_errors_total": [
                ((name,), count)
                for name, count in sorted(collector.containers.metadata.errors.items())
            ],
            "nsexporter_capability": [
                ((one.name,), int(held)) for one, held in capability.told(snapshot)
            ],
            "nsexporter_source_info": [
                (("memory", f"cgroup {snapshot.hierarchy}"), 1),
                (("namespaces", "/proc/PID/ns"), 1),
            ],
            "nsexporter_cgroups_dropped": [((), health.dropped)],
            "nsexporter_config_last_reload_successful": [((), int(self.reload_success))],
            "nsexporter_config_last_reload_success_timestamp_seconds": [((), self.reload_time)],
            **self.served(),
            **self._of_process(),
        }

    def _of_process(self) -> Values:
        if not self.config.collectors.self.enabled:
            return {}
        return of_process(itself(self.collector.reader))


def _give_back(passes: int) -> None:
    """Give back what the pass took: it is all over the heap, 4 MB at 5000 cgroups, in 0.5 ms.

    Python keeps 2000 tuples of each length for the next ones, 1 MB, and lets them go only when it
    looks at all objects for cycles. Of those there are hardly any here: most often there is
    nothing to look at.
    """
    if passes % _CYCLES == 0:
        gc.collect()
    elif passes % _LISTS == 0:
        gc.freeze()
        gc.collect()
        gc.unfreeze()
    libc.trim()
