import pytest

from blazeio_supervisor.cli.doctor import DoctorReport, format_report
from blazeio_supervisor.cli.doctor_machine import Finding, ok, unknown, warn

ILL = warn("clock", "hpet", "It is slow. " * 20, "another one")


def make_report(*findings: Finding, pid: int | None = None) -> DoctorReport:
    return DoctorReport(pid=pid, findings=list(findings))


@pytest.mark.parametrize(
    ("findings", "is_ok"),
    [([ok("a", "b")], True), ([unknown("a", "/b")], True), ([ILL], False), ([], True)],
)
def test_only_what_can_be_mended_is_wrong(findings: list[Finding], is_ok: bool) -> None:
    assert make_report(*findings).is_ok is is_ok


def test_what_is_wrong_says_what_follows_and_how_to_mend_it() -> None:
    lines = format_report(make_report(ILL, ok("a", "b")), 80).splitlines()
    assert lines[0] == "No service is running: the machine alone is looked at."
    assert lines[2] == "WARN  clock  hpet"
    assert lines[3].startswith("      It is slow. It is slow.")
    assert "      Fix: another one" in lines
    assert "OK    a      b" in lines
    assert lines[-1] == "1 problem found"
    assert max(map(len, lines)) <= 80


def test_what_is_not_visible_is_counted_apart() -> None:
    text = format_report(make_report(unknown("a", "/b"), pid=7), 80)
    assert text.startswith("The service of pid 7, and its machine:")
    assert "?     a  not visible here (/b)" in text
    assert text.endswith("no problems found, 1 not visible")
