"""What the processes of a cgroup tell, where nothing else does."""

from __future__ import annotations

from nsexporter.containers.guess import Guesses
from nsexporter.containers.identity import identify
from nsexporter.model import Identity

H = "0123456789abcdef" * 4
H2 = "fedcba9876543210" * 4
HOST = "29 23 8:1 / / rw - ext4 /dev/sda1 rw\n"


def inside(container_id: str) -> str:
    root = f"/var/lib/docker/containers/{container_id}/hostname"
    return f"9 8 8:1 {root} /etc/hostname rw - ext4 /dev/sda1 rw\n"


def guessed(
    processes: dict[int, tuple[str, str]], *more: str, path: str = "/some/place", uid: int = 0
) -> list[Identity]:
    """The identities of `path`, with the processes in it, and of cgroups without any."""
    paths = [path, *more]
    identities = [identify(one) for one in paths]
    guesses = Guesses(lambda pid: (*processes[pid], uid))
    guesses.fill(paths, identities, [list(processes), *([] for _ in more)])
    return identities


def test_one_container_of_all_processes_is_a_marked_guess() -> None:
    told = {1: ("conmon", HOST), 2: ("sleep", inside(H)), 3: ("sleep", inside(H))}
    assert guessed(told) == [
        Identity(kind="container", container_id=H, runtime="docker", guess="mountinfo")
    ]


def test_a_rootless_container_is_its_users() -> None:
    (found,) = guessed({2: ("sleep", inside(H))}, uid=1000)
    assert found.uid == 1000


def test_several_containers_and_the_hosts_processes_are_no_guess() -> None:
    for told in (
        {1: ("sleep", inside(H)), 2: ("sleep", inside(H2))},
        {1: ("sleep", inside(H)), 2: ("bash", HOST)},
        {1: ("sleep", ""), 2: ("sleep", inside(H))},
        {1: ("conmon", HOST)},
        {pid: ("sleep", inside(H)) for pid in range(1000)},
    ):
        assert guessed(told) == [Identity(kind="other")]


def test_what_a_path_tells_is_never_guessed() -> None:
    told = {1: ("sleep", inside(H))}
    assert guessed(told, path=f"/docker/{H2}")[0].container_id == H2
    assert guessed(told, path="/")[0].kind == "root"


def test_a_container_with_a_cgroup_of_its_own_has_no_second_one() -> None:
    place, own = guessed({1: ("sleep", inside(H))}, f"/docker/{H}")
    assert (place.kind, place.container_id, own.kind) == ("container-child", H, "container")


def test_a_cgroup_is_asked_once_while_its_first_process_stays() -> None:
    asked = []

    def tell(pid: int) -> tuple[str, str, int]:
        asked.append(pid)
        return "sleep", HOST, 0

    guesses = Guesses(tell)
    for pids in ([1, 2], [1, 2], [1, 3], [4]):
        guesses.fill(["/x"], [identify("/x")], [pids])
    assert asked == [1, 4]
