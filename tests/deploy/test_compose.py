"""The compose files: what one adds to the other, and the labels that Traefik reads.

No Traefik is run: its labels are compared with what its reference (version 3, routing
by the Docker provider) has, and with what the container answers.
"""

import re
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from tests.deploy.image import read_image
from tests.supervisor.typed import read_settings
from tests.support.tree import REPOSITORY

PLACE = re.compile(
    r"traefik\.(?:enable"
    r"|http\.routers\.(?P<router>[a-z0-9-]+)\.(?:rule|entrypoints|tls|service)"
    r"|http\.services\.(?P<service>[a-z0-9-]+)\.loadbalancer\.(?:server\.port"
    r"|server\.scheme|healthcheck\.(?:path|port|interval|timeout|scheme|hostname)))"
)
RULE = re.compile(r"(?:Host|PathPrefix|Path)\(`[^`]+`\)(?: (?:&&|\|\|) .+)?")


class Loader(yaml.SafeLoader):
    """Knows what compose adds to YAML."""


Loader.add_constructor("!reset", lambda loader, node: [])


def load(name: str) -> dict[str, Any]:
    text = (REPOSITORY / "deploy" / name).read_text()
    return dict(yaml.load(text, Loader))


@pytest.fixture
def shop() -> dict[str, Any]:
    return dict(load("compose.traefik.yaml")["services"]["shop"])


def test_each_label_is_one_that_traefik_reads(shop: dict[str, Any]) -> None:
    for name, value in shop["labels"].items():
        found = PLACE.fullmatch(name)
        assert found, name
        assert {found["router"], found["service"]} <= {"shop", None}
        assert isinstance(value, str), f"{name}: compose wants a text"
        if name.endswith(".rule"):
            assert RULE.fullmatch(value)


def test_it_is_sent_where_the_image_serves(shop: dict[str, Any]) -> None:
    environ, labels = read_image().environ, shop["labels"]
    service = "traefik.http.services.shop.loadbalancer"
    port = labels[f"{service}.server.port"]
    assert environ["BLAZEIO_BIND"].endswith(f":{port}")
    probes = labels[f"{service}.healthcheck.port"]
    assert environ["BLAZEIO_METRICS_BIND"].endswith(f":{probes}")
    assert labels[f"{service}.healthcheck.path"] == "/readyz"


def test_its_entry_point_is_there(shop: dict[str, Any]) -> None:
    traefik = load("compose.traefik.yaml")["services"]["traefik"]
    name = shop["labels"]["traefik.http.routers.shop.entrypoints"]
    (address,) = (
        word.partition("=:")[2]
        for word in traefik["command"]
        if word.startswith(f"--entrypoints.{name}.address")
    )
    assert [each.rpartition(":")[2] for each in traefik["ports"]] == [address]


def test_the_proxy_is_believed_and_has_time_to_look_elsewhere(
    shop: dict[str, Any],
) -> None:
    files = load("compose.yaml"), load("compose.traefik.yaml")
    environ: dict[str, str] = {}
    for each in files:
        environ |= each["services"]["shop"]["environment"]
    settings = read_settings(environ=environ)
    (net,) = files[1]["networks"]["front"]["ipam"]["config"]
    believed = environ["BLAZEIO_FORWARDED_ALLOW_IPS"]
    assert ip_network(believed) == ip_network(net["subnet"])
    interval = shop["labels"][
        "traefik.http.services.shop.loadbalancer.healthcheck.interval"
    ]
    assert settings.drain_delay_s > 2 * float(interval.removesuffix("s"))
    stop_s = float(files[0]["services"]["shop"]["stop_grace_period"].removesuffix("s"))
    assert stop_s > settings.drain_delay_s + settings.graceful_timeout_s
