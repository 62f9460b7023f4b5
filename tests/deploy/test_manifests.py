"""The manifests: what a cluster would refuse, and what they promise."""

import re
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from blazeio_supervisor.fleet.policy import Policy
from tests.supervisor.typed import read_settings
from tests.support.tree import REPOSITORY

DEPLOY = REPOSITORY / "deploy"


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


OBJECTS = {each["kind"]: each for each in load("kubernetes/app.yaml")}
POD = OBJECTS["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
SETTINGS = read_settings(*CONTAINER["args"][1:])


def test_each_kind_is_there_once_with_its_version() -> None:
    assert {kind: each["apiVersion"] for kind, each in OBJECTS.items()} == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "PodDisruptionBudget": "policy/v1",
        "HorizontalPodAutoscaler": "autoscaling/v2",
        "ConfigMap": "v1",
        "Secret": "v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "Ingress": "networking.k8s.io/v1",
    }


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("name", ["app.yaml", "migrate.yaml"])
def test_a_cluster_takes_them(name: str, version: str) -> None:
    for each in load(f"kubernetes/{name}"):
        kubernetes_validate.validate(each, version, strict=True)


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


def test_a_rollout_waits_until_a_pod_has_stayed_ready() -> None:
    """Else new code that dies soon replaces every pod before that is seen."""
    spec, startup = OBJECTS["Deployment"]["spec"], CONTAINER["startupProbe"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    probe = CONTAINER["readinessProbe"]
    assert spec["minReadySeconds"] >= 5 * probe["periodSeconds"]
    starts_s = startup["periodSeconds"] * startup["failureThreshold"]
    least_s = starts_s + spec["minReadySeconds"]
    assert spec["progressDeadlineSeconds"] > least_s


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    may = CONTAINER["securityContext"]
    assert may["readOnlyRootFilesystem"]
    assert may["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["securityContext"]["runAsNonRoot"]


def test_there_are_always_enough() -> None:
    scale, spec = OBJECTS["HorizontalPodAutoscaler"]["spec"], OBJECTS["Deployment"]
    least = scale["minReplicas"]
    assert "replicas" not in spec["spec"]  # each apply would undo the autoscaler
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] < least
    assert spec["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_network_policy_names_ports_and_pods_that_are_there() -> None:
    policy, ports = OBJECTS["NetworkPolicy"]["spec"], CONTAINER["ports"]
    assert policy["podSelector"]["matchLabels"] == POD["metadata"]["labels"]
    named = [each["port"] for rule in policy["ingress"] for each in rule["ports"]]
    assert named == [each["name"] for each in ports]


def test_settings_and_secrets_come_from_what_is_there() -> None:
    sources = {next(iter(each)): each for each in CONTAINER["envFrom"]}
    assert sources["configMapRef"]["configMapRef"]["name"] == "shop"
    assert sources["secretRef"]["secretRef"]["name"] == "shop"
    env = OBJECTS["ConfigMap"]["data"]
    assert read_settings(environ=env).access_log == "-"


def test_the_job_is_the_same_image_and_may_do_as_little() -> None:
    job, _ = load("kubernetes/migrate.yaml")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name in ("image", "envFrom", "securityContext", "volumeMounts"):
        assert container[name] == CONTAINER[name]
    assert pod["securityContext"] == POD["spec"]["securityContext"]


METRIC = re.compile(r"\bblazeio_[a-z_0-9]+")
KNOWN = set(METRIC.findall((REPOSITORY / "docs/reference/metrics.md").read_text()))


@pytest.mark.parametrize("name", ["prometheus/alerts.yaml", "grafana/blazeio.json"])
def test_each_metric_that_is_asked_for_is_one(name: str) -> None:
    text = (DEPLOY / name).read_text()
    named = {each.removesuffix("_bucket") for each in METRIC.findall(text)}
    assert named
    assert named <= KNOWN


def test_each_alert_says_what_to_do() -> None:
    (rules,) = load("prometheus/alerts.yaml")
    (group,) = rules["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    dashboard = msgspec.json.decode((DEPLOY / "grafana/blazeio.json").read_bytes())
    places = [
        (each["gridPos"]["x"], each["gridPos"]["y"]) for each in dashboard["panels"]
    ]
    assert len(places) == len(set(places)) == 10


def test_compose_and_quadlet_leave_time_for_the_drain() -> None:
    (compose,) = load("compose.yaml")
    shop = compose["services"]["shop"]
    graceful_s = float(shop["environment"]["BLAZEIO_GRACEFUL_TIMEOUT"])
    assert float(shop["stop_grace_period"].removesuffix("s")) >= graceful_s + 10
    quadlet = (DEPLOY / "shop.container").read_text()
    assert f"BLAZEIO_GRACEFUL_TIMEOUT={graceful_s:g}" in quadlet
    (stop_s,) = re.findall(r"TimeoutStopSec=(\d+)", quadlet)
    assert float(stop_s) >= graceful_s + 10
