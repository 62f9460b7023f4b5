import msgspec
import pytest

from blazeio_supervisor.cli import client
from blazeio_supervisor.cli.client import find_client
from blazeio_supervisor.cli.doctor import DoctorReport
from blazeio_supervisor.errors import NotRunningError
from tests.supervisor.cli.verb_harness import VerbHarness, invoke


async def test_it_looks_at_the_service_and_at_the_machine(
    verb_harness: VerbHarness,
) -> None:
    said = await verb_harness.run("doctor", "--json")
    report = msgspec.json.decode(said.output, type=DoctorReport)
    names = {each.name for each in report.findings}
    assert {"workers", "listen backlog", "open files"} <= names
    assert said.return_value == (0 if report.is_ok else 1)


async def test_it_is_a_table_for_a_person(verb_harness: VerbHarness) -> None:
    assert (
        "OK    workers          2 of 2 serve"
        in (await verb_harness.run("doctor")).output
    )


def test_without_a_service_the_machine_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_none(*_: object) -> None:
        raise NotRunningError("none")

    monkeypatch.setattr(client, find_client.__name__, find_none)
    assert invoke("doctor").output.startswith("No service is running: the machine")
    assert isinstance(invoke("doctor", "--instance", "a").exception, NotRunningError)
