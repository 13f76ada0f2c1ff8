"""docs/tested-on.md, from a report of pytest's."""

from __future__ import annotations

from tests import tested_on
from tests.tested_on import Case, Where

GUEST = '{"kernel": "6.12.1", "distribution": "Debian 12", "cgroups": "v2", "runtime": ""}'
INNER = "test_in_a_guest[no-psi-tests/live/test_v2.py::test_two[a-b]]"
REPORT = f"""\
<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" timestamp="2026-02-03T04:05:06.7+00:00">
<testcase classname="tests.live.test_oom" name="test_one" time="0.1"/>
<testcase classname="tests.kernels.test_guests"
 name="{INNER}" time="0.1">
<properties><property name="where" value='{GUEST}'/></properties>
<skipped type="pytest.skip" message="no"/></testcase>
<testcase classname="tests.live.test_oom" name="test_three"><failure message="no"/></testcase>
</testsuite></testsuites>
"""
OURS = Where("6.1", "Debian", "v1")


def test_a_report_is_read_by_test_and_host() -> None:
    guest = Where("6.12.1", "Debian 12", "v2")
    assert list(tested_on.cases(REPORT, OURS)) == [
        Case(OURS, "tests.live.test_oom", "test_one", "passed", "2026-02-03"),
        Case(guest, "tests.live.test_v2", INNER, "skipped", "2026-02-03"),
        Case(OURS, "tests.live.test_oom", "test_three", "failed", "2026-02-03"),
    ]


def test_a_row_counts_what_one_host_did_of_a_directory() -> None:
    written = tested_on.document(tested_on.cases(REPORT, OURS)).removeprefix(tested_on.HEAD)
    assert written.splitlines() == [
        "| 6.1 | Debian | v1 |  | live | 1 | 0 | 1 | 2026-02-03 |",
        "| 6.12.1 | Debian 12 | v2 |  | live | 0 | 1 | 0 | 2026-02-03 |",
    ]


def test_a_test_that_ran_again_counts_as_it_did_last() -> None:
    again = REPORT.replace('<failure message="no"/>', "").replace("2026-02-03", "2026-02-04")
    ran = tested_on.last(c for text in (REPORT, again) for c in tested_on.cases(text, OURS))
    assert "| 6.1 | Debian | v1 |  | live | 2 | 0 | 0 | 2026-02-04 |" in tested_on.document(ran)
