"""The status page: whole, escaped, and quick."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import math
import re
import time
from dataclasses import replace
from html import escape

import pytest

from nsexporter.capability import CAPABILITIES
from nsexporter.commands import doctor
from nsexporter.families.columns import Columns
from nsexporter.kernel.host import Host
from nsexporter.model import NS_TYPES, Container, OomAccount, OomKill
from nsexporter.reference import entries
from nsexporter.views import overview
from nsexporter.views.overview import Killed, Member, Node, Status, Use
from nsexporter.web import docs, document, pages, routes
from tests.snapshots import NOTHING

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[2J"


def container(index: int, name: str) -> Container:
    return Container(
        container_id=f"{index:064x}",
        label_id=f"{index:012x}",
        runtime="docker",
        cgroup=f"/docker/{index:064x}",
        name=name,
    )


def use(index: int, name: str, kills: int = 0, **values: float | None) -> Use:
    figures: dict[str, float | None] = {"usage": 60, "limit": 100, "headroom": 40} | values
    return Use(
        container=container(index, name),
        usage=figures["usage"],
        working_set=None,
        limit=figures["limit"],
        limiting="/docker",
        headroom=figures["headroom"],
        failcnt=3,
        oom_kills=kills,
        last_kill=1000.0 if kills else None,
        stalled=None,
    )


def status(
    uses: list[Use],
    members: list[Member],
    tree: Node | None = None,
    killed: list[Killed] | None = None,
) -> Status:
    return Status(
        version="1",
        telemetry_path="/metrics",
        host=Host(name=HOSTILE, kernel="6.1", machine="x86_64", distribution="Debian"),
        hierarchy="v2",
        memory_total=1 << 30,
        oom_kills=None,
        cgroups=1,
        processes=1,
        namespaces=1,
        uses=uses,
        killed=killed or [],
        unattributed=3,
        now=1090.0,
        members=members,
        host_inodes={"net": 1},
        tree=tree,
        capabilities=[(CAPABILITIES[0], True), (CAPABILITIES[1], False)],
    )


class Cells(html.parser.HTMLParser):
    """The text of every row's cells; elements that do not match are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.scripts = 0
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "rect"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def shown(page: Status) -> Cells:
    return Cells(pages.status_page(page).decode())


def test_a_container_is_a_row_with_its_figures() -> None:
    rows = shown(status([use(1, "web", kills=2)], [])).rows
    assert rows[1] == [
        "web", "60% of 100B", "60B", "40B", "2, 1min ago", "3", "-", "docker", "-", "000000000001",
    ]  # fmt: skip


def test_no_limit_is_not_shown_as_full_or_as_without_room() -> None:
    row = shown(status([use(1, "web", limit=math.inf, headroom=math.inf)], [])).rows[1]
    assert row[1:4] == ["no limit", "60B", "-"]


def test_fullness_is_what_is_left_of_the_limit_that_binds() -> None:
    assert use(1, "a", limit=100, headroom=25).fullness == 0.75
    assert use(1, "a", limit=100, headroom=None).fullness == 0
    assert use(1, "a", limit=math.inf, headroom=math.inf).fullness == 0


def test_kills_are_told_also_of_containers_that_are_gone() -> None:
    account = OomAccount(
        cgroup="/docker/gone",
        container=container(7, "gone"),
        pod_name="",
        pod_namespace="",
        kills={"memcg": 2, "none": 1},
        last=OomKill(time=1000.0, constraint="memcg", comm="<hog>", oom_memcg="/docker"),
    )
    page = status([], [], killed=[Killed(account=account, kills=3, alive=False)])
    assert shown(page).rows[1] == [
        "1min ago", "gone", "<hog>", "3", "memcg 2, none 1", "/docker", "no",
    ]  # fmt: skip
    assert "3 more since boot" in pages.status_page(page).decode()


def test_equal_namespaces_have_equal_letters_and_the_hosts_is_told() -> None:
    members = [
        Member(container=container(1, "a"), inodes={"net": (7,), "pid": (8,)}),
        Member(container=container(2, "b"), inodes={"net": (7,), "pid": (9,)}),
        Member(container=container(3, "c"), inodes={"net": (1, 7)}),
        Member(container=container(4, "d"), inodes={"net": (1,)}),
    ]
    rows = shown(status([], members)).rows
    assert rows[0] == ["Container", *NS_TYPES]
    column = rows[0].index("net")
    assert [row[column] for row in rows[1:]] == ["A", "A", "host, A", "host"]
    assert [row[rows[0].index("pid")] for row in rows[1:]] == ["own", "own", "-", "-"]


def test_who_shares_stands_together_and_who_shares_nothing_last() -> None:
    members = [
        Member(container=container(i, f"c{i}"), inodes={"net": (inode,)})
        for i, inode in enumerate([7, 8, 9, 7, 8, 10])
    ]
    rows = shown(status([], members)).rows
    assert [row[0] for row in rows[1:]] == ["c0", "c3", "c1", "c4", "c2", "c5"]


def test_hostile_names_are_text_and_do_not_turn_the_line() -> None:
    tree = Node(path="/", name=HOSTILE * 200, usage=1, limit=None, children=())
    text = pages.status_page(
        status([use(1, HOSTILE)], [Member(container=container(1, HOSTILE), inodes={})], tree)
    ).decode()
    assert Cells(text).scripts == 1  # the page's own
    assert "<script>alert" not in text
    assert "\u202e" not in text and "\x1b" not in text
    assert len(text) < 40_000


def test_what_is_missing_is_told_with_what_mends_it() -> None:
    text = pages.status_page(status([], [])).decode()
    assert CAPABILITIES[1].meaning.replace("'", "&#x27;") in text
    assert CAPABILITIES[0].meaning not in text


def test_a_containers_cgroup_has_its_name_in_the_tree() -> None:
    leaf = Node(path="/0f", name="0f", container="<web>", usage=1, limit=None, children=())
    root = Node(path="/", name="/", usage=1, limit=None, children=(leaf,))
    page = pages.status_page(status([], [], root)).decode()
    assert "<li class=leaf>&lt;web&gt; 0f <span" in page


def test_processes_that_may_not_be_read_are_counted_and_told_apart() -> None:
    snapshot = replace(NOTHING, unread_processes=3)
    host = Host(name="h", kernel="6.1", machine="x86_64", distribution="Debian")
    page = overview.status(Columns(snapshot), host, version="1", telemetry_path="/metrics")
    assert page.processes == 3
    assert "3 processes (3 whose namespaces may not be read)," in doctor.seen(snapshot)
    assert "0 processes, " in doctor.seen(NOTHING)


def test_the_page_says_of_when_it_is() -> None:
    page = pages.status_page(status([], [])).decode()
    assert 'datetime="1970-01-01T00:18:10Z">1970-01-01 00:18:10 UTC</time>' in page


def test_a_large_tree_is_cut_and_says_so() -> None:
    leaves = tuple(
        Node(path=f"/{i}", name=str(i), usage=1, limit=None, children=()) for i in range(3000)
    )
    root = Node(path="/", name="/", usage=1, limit=None, children=leaves)
    text = pages.status_page(status([], [], root)).decode()
    assert text.count("<li class=leaf>") + text.count("<li><details") == 2000
    assert "1001 more cgroups" in text


def test_the_policy_allows_just_the_pages_own_style_and_script() -> None:
    text = pages.status_page(status([], [])).decode()
    policy = document.policy()
    for element in ("style", "script"):
        found = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert " style=" not in text and " on" + "click" not in text
    assert "unsafe" not in policy


def test_1000_containers_render_in_less_than_a_tenth_of_a_second() -> None:
    uses = [use(i, f"container-{i}") for i in range(1000)]
    members = [
        Member(container=one.container, inodes=dict.fromkeys(NS_TYPES, (i // 2 + 10,)))
        for i, one in enumerate(uses)
    ]
    leaves = tuple(
        Node(path=f"/{i}", name=str(i), usage=1, limit=2, children=()) for i in range(2000)
    )
    page = status(uses, members, Node(path="/", name="/", usage=1, limit=None, children=leaves))
    best = math.inf
    for _ in range(5):
        started = time.process_time()
        pages.status_page(page)
        best = min(best, time.process_time() - started)
    assert best < 0.1


@pytest.mark.parametrize(("path", "link"), [("/metrics", "/metrics"), ('/a"b', "/a&quot;b")])
def test_every_page_links_the_metrics(path: str, link: str) -> None:
    for page in (pages.landing(path, "1"), docs.docs(path, "1")):
        assert f'<a href="{link}">{link}</a>' in page.decode()


def test_the_docs_tell_of_every_metric_by_an_anchor_of_its_name() -> None:
    text = docs.docs("/metrics", "1").decode()
    assert Cells(text).scripts == 0
    assert f'<a href="{routes.DOCS}">' in pages.status_page(status([], [])).decode()
    for entry in entries():
        assert text.count(f'<dt id="{entry.name}">') == 1
        assert escape(entry.help) in text
