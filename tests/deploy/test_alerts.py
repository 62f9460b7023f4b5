"""The alert rules and the metrics, as Prometheus itself sees them."""

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.deploy.test_proxies import find_ports
from tests.process.service import Service, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers
from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

pytestmark = pytest.mark.slow
ALERTS = REPOSITORY / "deploy/prometheus/alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{alerts}"]
scrape_configs:
  - job_name: blazeio
    static_configs: [{{targets: ["{place}"]}}]
"""


def run_promtool(*words: str | Path, text: str = "") -> str:
    done = subprocess.run(
        [find_program("promtool"), *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=scaled(20),
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


def test_promtool_takes_the_rules() -> None:
    assert "3 rules found" in run_promtool("check", "rules", ALERTS)


def test_each_alert_fires_for_what_it_says_and_for_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(CASES, tmp_path)
    run_promtool("test", "rules", tmp_path / CASES.name)


def start_with_metrics(live_server: LiveServers, folder: Path) -> tuple[Service, str]:
    """A service, and where its metrics are."""
    (port,) = find_ports(1)
    place = f"127.0.0.1:{port}"
    return start_service(live_server, folder, "--metrics-bind", place), place


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_promtool_finds_nothing_wrong_with_the_metrics(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service, place = start_with_metrics(live_server, tmp_path)
    for target in ("/", "/none", "/slow"):
        service.get(target)
    kill_one(service)
    text = read(f"http://{place}/metrics")
    assert 'reason="SIGKILL"} 1.0' in text
    assert run_promtool("check", "metrics", text=text) == ""


def kill_one(service: Service) -> None:
    killed = service.pids()[0]
    os.kill(killed, signal.SIGKILL)
    block_until(lambda: killed not in service.pids() and len(service.pids()) == 2, 20)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_prometheus_raises_the_alerts_of_a_real_run(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service, place = start_with_metrics(live_server, tmp_path)
    (port,) = find_ports(1)
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(alerts=ALERTS, place=place))
    words = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    words.append(f"--web.listen-address=127.0.0.1:{port}")
    program = find_program("prometheus")
    live_server.start([program, *words], cwd=tmp_path, ready="ready to receive")
    api = f"http://127.0.0.1:{port}/api/v1"
    block_until(lambda: count_samples(api) >= 3, 30, "three samples")
    assert list_alerts(api) == set()
    for _ in range(4):
        kill_one(service)
    (tmp_path / "app.py").write_text("import no_such_module")
    service.server.signal(signal.SIGHUP)
    expected = {"WorkersKeepFailing", "NewCodeWasNotTaken"}
    block_until(lambda: list_alerts(api) == expected, 60, f"{expected}")


def count_samples(api: str) -> int:
    query = "count_over_time(blazeio_ready%5B1m%5D)"
    result = json.loads(read(f"{api}/query?query={query}"))["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def list_alerts(api: str) -> set[str]:
    alerts = json.loads(read(f"{api}/alerts"))["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts}
