"""What runtimes' state files tell, in trees as the runtimes write them; how the cache asks."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsexporter.containers.metadata import MetadataCache
from nsexporter.containers.source import Metadata, Source
from nsexporter.containers.sources import SOURCES
from nsexporter.containers.state import StateFiles, document
from nsexporter.model import Identity
from tests.waiting import until

H = "0123456789abcdef" * 4
CGROUP = f"/docker/{H}"
DOCKER = {CGROUP: Identity(kind="container", container_id=H, runtime="docker")}
CONFIG: dict[str, Any] = {
    "ID": H,
    "Name": "/web",
    "Created": "2026-11-23T20:55:07.732768622Z",
    "Image": "sha256:99569011e491",
    "RestartCount": 2,
    "Config": {
        "Image": "registry.example/web:1.2",
        "Labels": {"com.docker.compose.project": "shop", "team": "core"},
    },
}


def write(root: Path, path: str, content: object) -> Path:
    """A state file, replaced as runtimes do: written beside it and renamed."""
    file = root / path.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    new.rename(file)
    return file


def config_v2(root: Path, content: object, data: str = "/var/lib/docker") -> Path:
    return write(root, f"{data}/containers/{H}/config.v2.json", content)


def ask(root: Path, *, allow: tuple[str, ...] = ("com.docker.compose.*",)) -> MetadataCache:
    files = StateFiles(str(root))
    sources = [make(files) for make in SOURCES.values()]
    return MetadataCache(sources, files, timeout=30, allow=allow)


def test_docker_tells_name_image_and_allowed_labels(tmp_path: Path) -> None:
    file = config_v2(tmp_path, CONFIG)
    told = ask(tmp_path).update(DOCKER)[CGROUP]
    assert told == Metadata(
        runtime="docker",
        name="web",
        image="registry.example/web:1.2",
        image_id="sha256:99569011e491",
        created=1795467307.732768,
        restarts=2,
        labels={"com.docker.compose.project": "shop"},
        files=told.files,
    )
    assert list(told.files) == ["/" + str(file.relative_to(tmp_path))]


def test_a_text_without_end_is_cut(tmp_path: Path) -> None:
    long = "x" * 100_000
    labels = {"com.docker.compose.project": long, "io.kubernetes.pod.name": long}
    config_v2(tmp_path, {"Name": long, "Config": {"Image": long, "Labels": labels}})
    told = ask(tmp_path).update(DOCKER)[CGROUP]
    shown = (told.name, told.image, told.pod_name, *told.labels.values())
    assert [len(text) for text in shown] == [1024] * 4


def test_a_kubelets_container_in_docker_has_its_pods_names(tmp_path: Path) -> None:
    labels = {
        "io.kubernetes.container.name": "app",
        "io.kubernetes.docker.type": "container",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": "u-1",
    }
    config_v2(tmp_path, {"Name": "/k8s_app_web-0_shop_u-1_0", "Config": {"Labels": labels}})
    told = ask(tmp_path).update(DOCKER)[CGROUP]
    assert (told.name, told.pod_name, told.pod_namespace, told.pod_uid, told.sandbox) == (
        "app",
        "web-0",
        "shop",
        "u-1",
        False,
    )


@pytest.mark.parametrize(
    ("data", "uid", "daemon_json"),
    [
        ("/srv/docker", None, {"data-root": "/srv/docker"}),
        ("/var/lib/docker/231072.231072", None, {}),
        ("/var/snap/docker/common/var-lib-docker", None, {}),
        ("/home/jo/.local/share/docker", 1000, {}),
    ],
)
def test_dockers_data_root_is_found(
    tmp_path: Path, data: str, uid: int | None, daemon_json: dict[str, str]
) -> None:
    write(tmp_path, "/etc/docker/daemon.json", daemon_json)
    write(tmp_path, "/etc/passwd", "jo:x:1000:1000:Jo:/home/jo:/bin/sh\n")
    config_v2(tmp_path, CONFIG, data)
    identity = Identity(kind="container", container_id=H, runtime="docker", uid=uid)
    assert ask(tmp_path).update({CGROUP: identity})[CGROUP].name == "web"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '"text"',
        "[" * 100_000,
        '{"Config": [1]}',
        '{"Config": {"Labels": {"a": 1}}, "Name": 7, "Created": true}',
    ],
)
def test_a_state_file_that_lies_costs_an_error_or_nothing(tmp_path: Path, content: str) -> None:
    config_v2(tmp_path, content)
    metadata = ask(tmp_path)
    told = metadata.update(DOCKER).get(CGROUP)
    assert metadata.errors["docker"] == (told is None)
    assert told is None or (told.name, told.labels) == ("", {})


def test_a_pipe_a_link_a_directory_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    files = StateFiles(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    for name in ("pipe", "link", "directory", "huge"):
        with pytest.raises((OSError, ValueError)):
            files.read(f"/{name}")
    assert files.read("/nothing") is None
    assert files.read("/huge/nothing") is None


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Waiting:
    """A source that answers when it is let."""

    name = "waiting"
    runtimes = frozenset({"docker"})

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = 0

    def lookup(self, identity: Identity) -> Metadata | None:
        self.asked += 1
        assert self.let.wait(30)
        return Metadata(name="late")


class Failing:
    """A source that fails until it is mended."""

    name = "failing"
    runtimes = frozenset({"docker"})

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    def lookup(self, identity: Identity) -> Metadata | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Metadata(name="mended")


def over(source: Source, clock: Clock, timeout: float) -> MetadataCache:
    files = StateFiles("/nonexistent")
    return MetadataCache([source], files, timeout=timeout, allow=(), clock=clock)


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    source = Waiting()
    yield source
    source.let.set()


def test_a_source_that_hangs_costs_the_timeout_once_and_is_heard_later(waiting: Waiting) -> None:
    metadata = over(waiting, Clock(), timeout=0.05)
    assert metadata.update(DOCKER) == {}
    started = time.monotonic()
    for _ in range(200):
        assert metadata.update(DOCKER) == {}
    assert time.monotonic() - started < 5  # not 200 times the timeout
    waiting.let.set()
    assert until(lambda: metadata.update(DOCKER))[CGROUP].name == "late"
    assert waiting.asked == 1


def test_a_source_that_never_comes_back_is_left_alone_and_the_others_go_on(
    waiting: Waiting, tmp_path: Path
) -> None:
    config_v2(tmp_path, CONFIG)
    clock, files = Clock(), StateFiles(str(tmp_path))
    metadata = MetadataCache(
        [waiting, SOURCES["docker"](files)], files, timeout=0.05, allow=(), clock=clock
    )
    behind = DOCKER | {"/behind": DOCKER[CGROUP]}
    assert metadata.update(behind) == {}
    clock.now += 4
    assert metadata.update(behind) == {}
    assert metadata.errors["waiting"] == 0

    def names() -> dict[str, str]:
        clock.now += 2
        return {path: one.name for path, one in metadata.update(behind).items()}

    deadline = time.monotonic() + 20
    while names() != {CGROUP: "web", "/behind": "web"}:
        assert time.monotonic() < deadline
    assert (metadata.errors["waiting"], waiting.asked) == (1, 1)
    waiting.let.set()
    while waiting.asked == 1:  # it is asked again, once its thread has ended
        assert time.monotonic() < deadline
        behind[f"/{clock.now}"] = DOCKER[CGROUP]
        names()


def test_a_source_that_fails_is_asked_again_less_and_less_often() -> None:
    clock, source = Clock(), Failing(OSError("no answer"))
    metadata = over(source, clock, timeout=30)
    for _ in range(100):
        assert metadata.update(DOCKER) == {}
        clock.now += 1
    assert source.asked == metadata.errors["failing"] == 7  # after 1, 2, 4, … seconds
    source.error = None
    clock.now += 300
    assert metadata.update(DOCKER)[CGROUP].name == "mended"
    metadata.update(DOCKER)
    assert source.asked == 8
    clock.now += 60
    metadata.update(DOCKER)
    assert source.asked == 9  # what no file tells is asked again once a minute


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), KeyError("Name")], ids=repr)
def test_a_source_that_fails_as_nobody_foresaw_fails_alone(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config_v2(tmp_path, CONFIG)
    files, failing = StateFiles(str(tmp_path)), Failing(error)
    metadata = MetadataCache(
        [failing, SOURCES["docker"](files)], files, timeout=10, allow=(), clock=Clock()
    )
    assert metadata.update(DOCKER)[CGROUP].name == "web"
    assert metadata.errors["failing"] == 1
    assert [record.exc_info is not None for record in caplog.records] == [True]
    failing.error = None
    other = DOCKER | {"/other": DOCKER[CGROUP]}
    assert metadata.update(other)["/other"].name == "mended"  # who asks is alive


def test_the_socket_is_asked_once_a_minute_where_the_state_may_not_be_read() -> None:
    clock, state, api = Clock(), Failing(PermissionError(13, "Permission denied")), Failing()
    metadata = MetadataCache(
        [state, api], StateFiles("/nonexistent"), timeout=30, allow=(), clock=clock
    )
    for _ in range(600):
        assert metadata.update(DOCKER)[CGROUP].name == "mended"
        clock.now += 1
    assert api.asked == 10  # and so ten minutes later, too: a rename shows


def test_what_may_not_be_read_is_no_error_but_known() -> None:
    source = Failing(PermissionError(13, "Permission denied"))
    metadata = over(source, Clock(), timeout=30)
    metadata.update(DOCKER)
    assert (metadata.errors["failing"], metadata.denied) == (0, {"failing"})


def test_a_rename_shows_in_the_next_pass_and_a_removal_keeps_the_name(tmp_path: Path) -> None:
    config_v2(tmp_path, CONFIG)
    metadata = ask(tmp_path)
    assert metadata.update(DOCKER)[CGROUP].name == "web"
    file = config_v2(tmp_path, CONFIG | {"Name": "/shop"})
    assert metadata.update(DOCKER)[CGROUP].name == "shop"
    file.unlink()
    assert metadata.update(DOCKER)[CGROUP].name == "shop"
    assert metadata.update({}) == {}


def test_a_container_that_is_gone_when_a_pass_hears_of_it_was_asked_for_before(
    tmp_path: Path,
) -> None:
    file = config_v2(tmp_path, CONFIG)
    metadata = ask(tmp_path)
    metadata.ahead(CGROUP, DOCKER[CGROUP])
    metadata.update({"/other": replace(DOCKER[CGROUP], container_id="0" * 64)})  # waits for both
    file.unlink()
    assert metadata.update({}) == {}  # this pass neither
    assert metadata.update(DOCKER)[CGROUP].name == "web"


def test_a_container_of_another_runtime_is_not_asked_for(tmp_path: Path) -> None:
    config_v2(tmp_path, CONFIG)
    podman = Identity(kind="container", container_id=H, runtime="podman")
    assert ask(tmp_path).update({"/x": podman}) == {}
    bare = Identity(kind="container", container_id=H)
    assert ask(tmp_path).update({"/x": bare})["/x"].runtime == "docker"


def test_five_hundred_containers_cost_less_than_300_ms_and_then_nothing(tmp_path: Path) -> None:
    captured = CONFIG | {"Env": ["A=" + "x" * 100] * 40}
    wanted = {}
    for number in range(500):
        container_id = f"{number:064x}"
        path = f"/var/lib/docker/containers/{container_id}/config.v2.json"
        write(tmp_path, path, captured | {"ID": container_id})
        wanted[f"/docker/{container_id}"] = Identity(
            kind="container", container_id=container_id, runtime="docker"
        )
    metadata = ask(tmp_path)
    assert cpu(lambda: metadata.update(wanted)) < 0.3
    assert len(metadata.update(wanted)) == 500  # looks once more: it was watched after it was read
    paths = list(metadata.update(wanted).values())
    files = StateFiles(str(tmp_path))
    looks = cpu(lambda: [files.stamp(name) for one in paths for name in one.files], 20)
    assert cpu(lambda: metadata.update(wanted), 20) < looks / 2


def cpu(function: Callable[[], object], times: int = 1) -> float:
    """Seconds of CPU time that one call takes."""
    started = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - started) / times


def test_json_that_is_no_object_is_named_in_the_error(tmp_path: Path) -> None:
    write(tmp_path, "/x.json", "[1]")
    file = StateFiles(str(tmp_path)).read("/x.json")
    assert file is not None
    with pytest.raises(ValueError, match=r"^/x\.json: no JSON object$"):
        document(file)
