"""The paths there are, and what is asked of the application for each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

from nsexporter.web.http1 import PLAIN, Request, Response, accepted

log = logging.getLogger(__name__)

_BUDGET = 9.5  # seconds for a client that names none: Prometheus's default time-out, less a margin
_LONGEST_BUDGET = 30.0
_MOST_FIELDS = 500  # several times as many as there are families
DOCS = "/docs"
_PAGES = ("/", DOCS)


class Application(Protocol):
    """What is served."""

    def metrics(
        self, *, openmetrics: bool, gzip: bool, names: frozenset[str], budget: float | None
    ) -> Response:
        """The exposition; with `gzip` compressed, Content-Encoding included."""

    def page(self, path: str) -> Response:
        """What a person is shown at / or DOCS."""

    def ready(self) -> bool:
        """Whether there is an exposition to serve."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request that takes a while; requests with equal jobs get the same answer."""

    path: str
    names: frozenset[str]  # of families, all where there are none; of a query nothing else counts
    openmetrics: bool
    gzip: bool


class Routes:
    """Requests to responses."""

    def __init__(self, application: Application, telemetry_path: str) -> None:
        self._application = application
        self._telemetry_path = telemetry_path

    def plan(self, request: Request) -> Response | Job:
        """The response where it is at hand, else what a worker is to do for it."""
        if request.path in (self._telemetry_path, *_PAGES):
            names: frozenset[str] = frozenset()
            if request.path == self._telemetry_path and request.query:
                try:
                    asked = parse_qs(request.query, max_num_fields=_MOST_FIELDS)
                except ValueError:
                    text = f"a query has at most {_MOST_FIELDS} fields\n"
                    return Response(400, PLAIN, [text.encode()])
                names = frozenset(asked.get("name[]", ()))
            return Job(
                request.path,
                names,
                wants_openmetrics(request.headers.get("accept", "")),
                accepted(request.headers.get("accept-encoding", ""), "gzip") > 0,
            )
        if request.path == "/-/healthy":
            return Response(200, PLAIN, [b"healthy\n"])
        if request.path == "/-/ready":
            ready = self._application.ready()
            return Response(200 if ready else 503, PLAIN, [b"ready\n" if ready else b"not ready\n"])
        return Response(404, PLAIN, [b"not found\n"])

    def answer(self, job: Job, budget: float) -> Response:
        """The response to a job, within `budget` seconds; a bug is logged and is a 500."""
        try:
            if job.path == self._telemetry_path:
                return self._application.metrics(
                    openmetrics=job.openmetrics, gzip=job.gzip, names=job.names, budget=budget
                )
            return self._application.page(job.path)
        except Exception:
            log.exception("%s failed", job.path)
            return Response(500, PLAIN, [b"this failed, see the log\n"])


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics at least as much as for the text format."""
    openmetrics = accepted(accept, "application/openmetrics-text")
    return openmetrics > 0 and openmetrics >= accepted(accept, "text/plain")


def scrape_budget(header: str | None) -> float:
    """Seconds a scrape may take: Prometheus's own time-out less a margin, within bounds.

    >>> scrape_budget("10"), scrape_budget(None), scrape_budget("nan")
    (9.5, 9.5, 9.5)
    """
    try:
        seconds = float(header or "")
    except ValueError:
        return _BUDGET
    if not 0 < seconds < 1e6:
        return _BUDGET
    return min(max(0.1, seconds - max(0.5, seconds / 20)), _LONGEST_BUDGET)
