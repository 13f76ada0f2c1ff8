"""listns(2) against /proc, on kernels that have it."""

from __future__ import annotations

import os

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.kernel import listns
from nsexporter.model import NS_TYPES
from tests.conftest import Need
from tests.live.nslab import actor, asked, info, link
from tests.samples import scrape


@pytest.fixture(autouse=True)
def there(need: Need) -> None:
    need("live", os.geteuid() == 0, "root")
    try:
        listns.ids()
    except OSError as error:
        pytest.skip(f"listns(2): {error.strerror}")


def listed() -> dict[int, int]:
    """Inode to ID."""
    found = {}
    for ns_id in listns.ids():
        try:
            fd = listns.open_id(ns_id)
        except OSError:
            continue  # it went meanwhile
        found[os.fstat(fd).st_ino] = ns_id
        os.close(fd)
    return found


def test_what_processes_are_in_is_listed() -> None:
    every = listed()
    for ns_type in NS_TYPES:
        assert link(f"/proc/self/ns/{ns_type}") in every
    with actor() as one:
        one.unshare("net", "uts")
        made = {link(f"/proc/{one.pid}/ns/{ns_type}") for ns_type in ("net", "uts")}
        after = listed()
        assert made <= after.keys()
        assert all(after[inode] not in every.values() for inode in made)


@pytest.mark.parametrize("ns_type", NS_TYPES)
def test_a_namespace_is_known_before_its_descriptor_is_looked_at(ns_type: str) -> None:
    collector = Collector(config.load(None, {"collectors.namespaces.max_fds": 0}))
    try:
        with actor() as one:
            place = one.alone(ns_type)
            made, fd = link(place), os.open(place, os.O_RDONLY)
        wanted = asked(f"/proc/self/fd/{fd}") | {"scope": "other"}
        assert info(scrape(collector), ns_type, made) == wanted
        os.close(fd)
        assert info(scrape(collector), ns_type, made) == {}
    finally:
        collector.close()
