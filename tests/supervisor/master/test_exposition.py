from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blazeio_supervisor.master import metrics as module
from blazeio_supervisor.master.metrics import Exposition
from tests.supervisor.cli.master_harness import MasterHarness


async def test_the_text_is_what_prometheus_reads(tmp_path: Path) -> None:
    text = Exposition(MasterHarness(tmp_path).service).write().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"blazeio_requests", "blazeio_info", "blazeio_accept_queue_length"} <= names
    assert all(name.startswith("blazeio") for name in names)


async def test_who_asks_again_at_once_gets_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = MasterHarness(tmp_path)
    exposition = Exposition(harness.service)
    first = exposition.write()
    harness.events.history.counts["adopted", ""] = 7
    assert exposition.write() is first
    monkeypatch.setattr(module, "FRESH_FOR_S", 0.0)
    assert b"blazeio_adoptions_total 7.0" in exposition.write()
