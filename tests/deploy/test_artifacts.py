"""What is built to be installed: the same bytes twice, and it runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nsexporter import __version__
from tests.conftest import Need
from tests.deploy.checkout import copied

ROOT = Path(__file__).parents[2]


def make(directory: Path, *targets: str) -> None:
    """`make` in a copy of the checkout, with a virtual environment of its own."""
    done = subprocess.run(
        ["make", "--silent", f"PYTHON={sys.executable}", *targets],
        cwd=directory,
        capture_output=True,
        text=True,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def digests(directory: Path) -> dict[str, str]:
    """File name to SHA-256."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((directory / "dist").iterdir())
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy in which everything was built."""
    directory = copied(tmp_path_factory.mktemp("first") / "nsexporter")
    make(directory, "dist", "zipapp", "share")
    yield directory


def test_wheel_sdist_and_zipapp_are_reproducible(built: Path, tmp_path: Path) -> None:
    again = copied(tmp_path / "elsewhere")
    make(again, "dist", "zipapp")
    first = digests(built)
    assert [name.rpartition(".")[2] for name in first] == ["whl", "gz", "pyz"]
    assert digests(again) == first


def test_the_wheel_runs_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    (wheel,) = (built / "dist").glob("*.whl")
    pip = [str(tmp_path / "venv/bin/pip"), "install", "--quiet", str(wheel)]
    subprocess.run(pip, check=True)
    command = str(tmp_path / "venv/bin/nsexporter")
    text = subprocess.run([command, "dump"], capture_output=True, text=True, check=True).stdout
    assert "nsexporter_cgroup_info{" in text
    page = subprocess.run(
        [str(tmp_path / "venv/bin/python"), "-c", "from nsexporter.web import document;"
         " assert 'style-src' in document.policy()"],
        cwd=tmp_path,
    )  # fmt: skip
    assert page.returncode == 0


def test_the_zipapp_runs_with_nothing_but_python(built: Path, tmp_path: Path) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    text = subprocess.run(
        [str(built / "dist/nsexporter.pyz"), "dump"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd="/",
    ).stdout
    assert "nsexporter_cgroup_info{" in text


def test_the_completion_completes_and_the_man_page_is_clean(built: Path, need: Need) -> None:
    script = built / "build/share/bash-completion/completions/nsexporter"
    told = subprocess.run(
        ["bash", "-c", f"source {script}; COMP_WORDS=(nsexporter ls); COMP_CWORD=1;"
         " _shtab_nsexporter; echo ${COMPREPLY[@]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "lsns\n"
    page = built / "build/share/man/man8/nsexporter.8"
    assert "nsexporter lsns" in page.read_text().replace("\\-", "-")
    need("deploy", shutil.which("groff") is not None, "groff is not installed")
    told = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_kubectl_renders_what_there_is(need: Need) -> None:
    kubectl = shutil.which("kubectl")
    need("deploy", kubectl is not None, "kubectl is not installed")
    directory = ROOT / "deploy/kubernetes"
    told = subprocess.run(
        [str(kubectl), "kustomize", str(directory)], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    rendered = {one["kind"]: one for one in yaml.safe_load_all(told.stdout)}
    assert set(rendered) == {"DaemonSet", "PodMonitor"}
    (container,) = rendered["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"nsexporter:{__version__}"


def test_the_manifests_are_what_kubernetes_takes() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    directory = ROOT / "deploy/kubernetes"
    kinds = {}
    for name in yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]:
        document = yaml.safe_load((directory / name).read_text())
        kinds[document["kind"]] = document
    assert set(kinds) == {"DaemonSet", "PodMonitor"}
    validate.validate(kinds["DaemonSet"], validate.latest_version(), strict=True)
    template = kinds["DaemonSet"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    # A private copy of others' mounts would keep the volumes of pods that are gone busy.
    follows = {
        mount["mountPath"]
        for mount in container["volumeMounts"]
        if mount.get("mountPropagation") == "HostToContainer"
    }
    assert follows == {"/host/run", "/host/var/lib"}
    monitor = kinds["PodMonitor"]["spec"]
    labels = template["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_what_compose_mounts_is_there_and_its_configurations_are_right(need: Need) -> None:
    directory = ROOT / "deploy/compose"
    services = yaml.safe_load((directory / "compose.yaml").read_text())["services"]
    assert set(services) == {"nsexporter", "prometheus", "alertmanager", "grafana"}
    for name, service in services.items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source in ("/run", "/var/lib"):
                assert volume.endswith(":ro,rslave")
            if source.startswith("."):
                assert (directory / source).exists(), f"{name}: {source}"
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    build = services["nsexporter"]["build"]
    assert (directory / build["context"] / build["dockerfile"]).exists()
    scraped = yaml.safe_load((directory / "prometheus.yaml").read_text())
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target.split(":")[0] in services
    promtool = shutil.which("promtool")
    need("deploy", promtool is not None, "promtool is not installed")
    assert promtool is not None
    check = [promtool, "check", "config", "--syntax-only", str(directory / "prometheus.yaml")]
    told = subprocess.run(check, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
