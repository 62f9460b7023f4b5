"""The manifests: what a cluster would refuse, and what they promise."""

from typing import Any

import pytest
import yaml

from blazeio_supervisor.fleet.policy import Policy
from tests.supervisor.typed import read_settings
from tests.support.tree import REPOSITORY

OBJECTS: dict[str, dict[str, Any]] = {
    each["kind"]: each
    for each in yaml.safe_load_all(
        (REPOSITORY / "deploy/kubernetes/app.yaml").read_text()
    )
}
POD = OBJECTS["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
SETTINGS = read_settings(*CONTAINER["args"][1:])


def test_each_kind_is_there_once_with_its_version() -> None:
    assert {kind: each["apiVersion"] for kind, each in OBJECTS.items()} == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "PodDisruptionBudget": "policy/v1",
        "HorizontalPodAutoscaler": "autoscaling/v2",
    }


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
def test_what_selects_pods_finds_these(kind: str) -> None:
    selected = OBJECTS[kind]["spec"]["selector"]["matchLabels"]
    assert selected == POD["metadata"]["labels"]
    assert OBJECTS["Service"]["spec"]["selector"] == selected


def test_a_pod_has_ended_by_itself_before_it_is_killed() -> None:
    policy = Policy()
    longest_s = SETTINGS.drain_delay_s + SETTINGS.graceful_timeout_s
    longest_s += policy.kill_after_s
    assert longest_s < POD["spec"]["terminationGracePeriodSeconds"]


def test_it_is_not_ready_long_before_it_drains() -> None:
    probe = CONTAINER["readinessProbe"]
    noticed_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert SETTINGS.drain_delay_s >= noticed_s + 5
    assert "lifecycle" not in CONTAINER  # no sleep in a preStop hook


def test_probes_and_metrics_are_asked_where_they_are_answered() -> None:
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    probes = {
        name: CONTAINER[f"{name}Probe"]["httpGet"]
        for name in ("startup", "readiness", "liveness")
    }
    assert {name: each["path"] for name, each in probes.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {each["port"] for each in probes.values()} == {"metrics"}
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] in ports


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    may = CONTAINER["securityContext"]
    assert may["readOnlyRootFilesystem"]
    assert may["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["securityContext"]["runAsNonRoot"]


def test_there_are_always_enough() -> None:
    scale, spec = OBJECTS["HorizontalPodAutoscaler"]["spec"], OBJECTS["Deployment"]
    least = scale["minReplicas"]
    assert spec["spec"]["replicas"] >= least
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] < least
    assert spec["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
