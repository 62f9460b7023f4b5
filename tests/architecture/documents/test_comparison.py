"""The table of docs/explanation/comparison.md: ours has a test, theirs a source."""

import re

import pytest

from tests.support.tree import REPOSITORY

PAGE = (REPOSITORY / "docs/explanation/comparison.md").read_text()
RELOAD, CONTROL = "tests/process/test_reload.py", "tests/process/test_control.py"
TESTS: dict[str, tuple[str, ...]] = {
    "apps": (
        "tests/process/test_real_apps.py::test_an_asgi_app_answers_as_on_uvicorn",
        "tests/process/test_real_apps.py::test_a_wsgi_app_answers_as_on_gunicorn",
    ),
    "HTTP/2": (
        "tests/process/test_http2.py::"
        "test_it_is_spoken_unless_the_command_line_says_otherwise",
    ),
    "HTTP/3": (),
    "a new worker is ready before an old one ends": (
        f"{RELOAD}::test_hup_replaces_every_worker_by_new_code",
        f"{RELOAD}::test_five_reloads_under_load_lose_no_request",
    ),
    "a reload that fails leaves all old workers": (
        f"{RELOAD}::test_broken_code_leaves_the_old_workers_as_they_are",
        f"{RELOAD}::test_a_reload_that_takes_too_long_goes_back_in_every_slot",
    ),
    "who asked for it learns the result": (
        f"{CONTROL}::test_reload_waits_for_the_new_code",
        f"{CONTROL}::test_reload_of_broken_code_fails_and_says_why",
    ),
    "health request to new code before it serves": (
        "tests/process/test_health_path.py::"
        "test_unhealthy_code_leaves_the_old_workers_as_they_are",
    ),
    "workers share the memory of one import": (
        "tests/process/test_collector.py::test_a_worker_is_tuned",
    ),
    "what a crashed worker's queue holds": (
        "tests/process/test_crash.py::"
        "test_connections_in_the_queue_of_a_killed_worker_are_served",
    ),
    "a worker that hangs": (
        "tests/process/test_blocked.py::"
        "test_new_connections_do_not_wait_for_a_blocked_worker",
        "tests/process/test_blocked.py::"
        "test_a_blocked_worker_climbs_the_ladder_step_by_step",
        "tests/process/test_blocked.py::test_a_worker_that_stays_blocked_is_replaced",
    ),
    "stack of a running worker": (
        f"{CONTROL}::test_stack_shows_the_line_that_blocks_a_worker",
    ),
    "metrics": (
        "tests/process/test_metrics.py::"
        "test_as_many_requests_are_counted_as_clients_have_had_answers",
        "tests/process/test_metrics.py::"
        "test_a_killed_worker_takes_no_more_along_than_what_was_in_flight",
    ),
    "replaced by memory, age, requests": (
        "tests/process/test_recycling.py::"
        "test_a_worker_that_has_grown_is_replaced_and_the_others_are_not",
        "tests/process/test_recycling.py::test_workers_are_replaced_when_they_are_old",
        "tests/process/test_recycling.py::"
        "test_workers_are_replaced_after_their_requests_and_no_request_is_lost",
    ),
    "number of workers follows the load": (
        "tests/process/test_autoscaling.py::"
        "test_workers_whose_queues_fill_get_others_beside_them",
    ),
    "systemd": (
        "tests/systemd/test_life.py::test_systemd_hears_everything_in_its_order",
        "tests/systemd/test_life.py::test_a_reload_returns_when_the_new_code_serves",
        "tests/systemd/test_life.py::test_a_restart_refuses_nobody",
    ),
    "its own code replaced, same pid": (
        "tests/process/test_upgrade.py::test_the_new_code_goes_on_with_everything",
    ),
    "drops privileges, reads keys first": (
        "tests/process/test_privileges.py::"
        "test_the_app_runs_as_the_user_and_the_master_as_root",
        "tests/process/test_privileges.py::"
        "test_a_key_that_only_root_reads_is_read_before_and_at_each_reload",
    ),
    "macOS, Windows": (
        "tests/test_without_linux.py::test_an_app_serves_all_that_it_serves_on_linux",
    ),
}
"""Of each row: the tests that show our cell. Of a plain "no" there is none."""
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]
COMPARED = [row for row in ROWS if len(row) == 7 and row[0]]
SOURCES = [row for row in ROWS if len(row) == 3 and row[0] != "mark"]


def list_marks() -> set[str]:
    found = set()
    for marks, _, _ in SOURCES:
        for first, last in re.findall(r"([A-Z]\d)(?: to ([A-Z]\d))?", marks):
            end = int((last or first)[1])
            found |= {f"{first[0]}{number}" for number in range(int(first[1]), end + 1)}
    return found


def test_each_row_has_its_tests() -> None:
    assert [row[0] for row in COMPARED] == list(TESTS)


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row[0])
def test_our_cell_is_shown_by_tests_that_are_there(row: list[str]) -> None:
    name, ours = row[:2]
    tests = TESTS[name]
    assert tests or ours == "no"
    named = set(re.findall(r"`(tests/\S+\.py)`", ours))
    assert named <= {each.partition("::")[0] for each in tests}, "another file is named"
    assert named or not tests
    for each in tests:
        file, _, test = each.partition("::")
        code = (REPOSITORY / file).read_text()
        assert re.search(rf"^\s*(?:async )?def {test}\(", code, re.MULTILINE), each


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row[0])
def test_each_of_theirs_has_a_source(row: list[str]) -> None:
    marks = list_marks()
    for cell in row[2:]:
        named = re.findall(r"\b[GURHN]\d\b", cell)
        assert cell == "?" or named, f"{row[0]}: {cell}"
        assert set(named) <= marks, cell


def test_each_source_has_a_version_and_a_date() -> None:
    assert {row[0][0] for row in SOURCES} == set("GURHN")
    for _, _, version in SOURCES:
        assert re.fullmatch(r"\d+\.\d+\.\d+, 20\d\d-\d\d-\d\d", version)
