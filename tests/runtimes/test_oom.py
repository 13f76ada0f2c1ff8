"""Docker's containers that are OOM-killed before anybody could have looked at them."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

import pytest

from tests.live import kills
from tests.live.exporter import Exporter, running
from tests.runtimes.engines import Docker
from tests.runtimes.images import IMAGE
from tests.samples import Samples, of


@pytest.fixture
def exporter(docker: Docker) -> Iterator[Exporter]:
    # Landlock would hide the lab's root, which is below /proc.
    flags = (f"--path.rootfs={docker.lab.path('')}", "--security.landlock=off")
    with running(*flags) as started:
        kills.scrape(started)
        yield started


def account(samples: Samples, container_id: str) -> dict[str, str]:
    """The labels of the container's series with a kill, if there is one."""
    wanted = ("container_id", container_id[:12])
    return next(
        (
            dict(labels)
            for (name, labels), value in samples.items()
            if name == "nsexporter_oom_kills_total" and wanted in labels and value
        ),
        {},
    )


def killed(container_ids: Iterable[str]) -> dict[str, float]:
    """When (epoch) the kernel killed in the containers, as dmesg(1) tells the time of the line."""
    told = subprocess.run(
        ["dmesg", "--time-format=iso"], capture_output=True, text=True, errors="replace", check=True
    )
    found = {}
    for line in told.stdout.splitlines():
        when, _, text = line.partition(" ")
        for container_id in container_ids:
            if text.startswith("oom-kill:") and container_id in text:
                found[container_id] = datetime.fromisoformat(when.replace(",", ".")).timestamp()
    return found


def test_a_container_killed_in_its_first_second_and_removed_is_counted_by_its_id(
    docker: Docker, exporter: Exporter
) -> None:
    names = {}
    for _ in range(5):
        name = f"short-{uuid.uuid4().hex[:8]}"
        flags = ("--rm", "--name", name, "--network", "none", "-m", "16m")
        command = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
        names[docker("run", "-d", *flags, IMAGE, *command)] = name

    samples = kills.wait_for(exporter, lambda now: all(account(now, one) for one in names), 30)
    accounts = {container_id: account(samples, container_id) for container_id in names}
    assert all(accounts.values())
    named = {c: told["container_name"] for c, told in accounts.items() if "container_name" in told}
    # dockerd told the names of those that it had not removed within some milliseconds.
    assert named.items() <= names.items() and len(named) >= len(names) - 1
    times = killed(names)
    assert len(times) >= 3  # the kernel limits the lines that name the cgroup
    for container_id, labels in accounts.items():
        assert labels["constraint"] == "memcg"
        assert of(samples, "nsexporter_oom_kills_total", **labels) == 1
        del labels["constraint"]
        last = of(samples, "nsexporter_oom_last_kill_timestamp_seconds", **labels)
        assert last is not None
        if container_id in times:
            assert abs(last - times[container_id]) < 1
