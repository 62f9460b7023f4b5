"""What the doctor found: the schema of ``doctor --json``, and its text. Pure."""

import textwrap
from collections.abc import Sequence
from typing import Literal

import msgspec

from blazeio_supervisor.ipc.control_api import SCHEMA

Verdict = Literal["ok", "warn", "unknown"]
_WORDS: dict[Verdict, str] = {"ok": "OK", "warn": "WARN", "unknown": "?"}
_INDENT = " " * 6


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        name: What; a stable word or two.
        verdict: ``unknown``: it cannot be seen from here.
        seen: How it is.
        meaning: What follows from that; "" when all is well.
        remedy: What to do about it; likewise.
    """

    name: str
    verdict: Verdict
    seen: str
    meaning: str = ""
    remedy: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All findings.

    Attributes:
        pid: Of the master that was looked at; None: no service runs, the
            machine alone was looked at.
    """

    schema: int = SCHEMA
    pid: int | None
    findings: list[Finding]

    @property
    def is_well(self) -> bool:
        """Nothing is wrong, as far as can be seen."""
        return all(each.verdict != "warn" for each in self.findings)


def well(name: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(name=name, verdict="ok", seen=seen)


def ill(name: str, seen: str, meaning: str, remedy: str) -> Finding:
    """Something to mend."""
    return Finding(name=name, verdict="warn", seen=seen, meaning=meaning, remedy=remedy)


def hidden(name: str, where: str) -> Finding:
    """A sandbox, say, lets nobody look."""
    return Finding(name=name, verdict="unknown", seen=f"not visible here ({where})")


def format_report(report: DoctorReport, width: int) -> str:
    """Write one line for each finding; more where something is wrong."""
    if report.pid is None:
        lines = ["No service is running: the machine alone is looked at.", ""]
    else:
        lines = [f"The service of pid {report.pid}, and its machine:", ""]
    size = max((len(each.name) for each in report.findings), default=0)
    for each in report.findings:
        lines.append(f"{_WORDS[each.verdict]:4}  {each.name.ljust(size)}  {each.seen}")
        lines += _wrap(each.meaning, width)
        lines += _wrap(f"Mend: {each.remedy}" if each.remedy else "", width)
    return "\n".join([*lines, "", _count(report.findings)])


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _count(findings: Sequence[Finding]) -> str:
    bad = sum(each.verdict == "warn" for each in findings)
    unseen = sum(each.verdict == "unknown" for each in findings)
    text = f"{bad} to mend" if bad else "nothing to mend"
    return f"{text}, {unseen} not visible" if unseen else text
