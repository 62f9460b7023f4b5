import pytest

from tests.supervisor.master.workers_harness import WorkersHarness


async def test_what_happens_to_it_is_noted_with_all_that_it_is(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    pid = harness.fork()
    harness.workers.records[1].note("odd", "it hums", "WARNING")
    assert f"event=odd worker=1 slot=0 gen=1 pid={pid}: it hums" in caplog.text
