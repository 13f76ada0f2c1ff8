"""Which run of a unit a cgroup is, by links as systemd makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsexporter.containers.identity import identify
from nsexporter.containers.state import StateFiles
from nsexporter.containers.units import Units

ONE, OTHER, OWN = "1" * 32, "2" * 32, "3" * 32
SERVICE = "/system.slice/web.service"
USERS = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service"


def link(root: Path, unit: str, invocation: str, manager: str = "") -> None:
    """As systemd does: a new link over the old one."""
    directory = root / f"run{manager}" / "systemd" / "units"
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / ".#new"
    new.symlink_to(invocation)
    new.rename(directory / f"invocation:{unit}")


@pytest.fixture
def units(tmp_path: Path) -> Units:
    link(tmp_path, "web.service", ONE)
    link(tmp_path, "web.service", OWN, "/user/1000")
    return Units(StateFiles(str(tmp_path)))


def of(units: Units, *paths: str) -> list[str]:
    return units.invocations(map(identify, paths))


def test_a_unit_and_the_cgroups_in_it_have_its_invocation(units: Units) -> None:
    paths = (SERVICE, f"{SERVICE}/inner", USERS, "/system.slice/other.service", "/docker", "/")
    assert of(units, *paths) == [ONE, ONE, OWN, "", "", ""]


def test_a_unit_that_was_started_again_has_another_one(units: Units, tmp_path: Path) -> None:
    assert of(units, SERVICE) == [ONE]
    link(tmp_path, "web.service", OTHER)
    assert of(units, SERVICE) == [OTHER]
    (tmp_path / "run/systemd/units/invocation:web.service").unlink()
    assert of(units, SERVICE) == [""]


def test_what_is_no_invocation_is_not_told(units: Units, tmp_path: Path) -> None:
    link(tmp_path, "liar.service", 'x"} 1\n')
    (tmp_path / "run/systemd/units/invocation:file.service").write_text(ONE)
    assert of(units, "/system.slice/liar.service", "/system.slice/file.service") == ["", ""]


def test_a_unit_inside_a_container_is_not_the_hosts(units: Units) -> None:
    assert of(units, f"/docker/{'ab' * 32}{SERVICE}") == [""]
