"""A number in the settings says its unit by its name."""

import ast
from functools import cache

from blazeio_supervisor.config.settings import SECTIONS
from tests.support.tree import Module, iterate_modules

CLASSES = {"Limits", "Policy", *(section.__name__ for section in SECTIONS)}
UNITS = ("_s", "_bytes", "_count")
WITHOUT_UNIT = {
    "Limits.connections": "counts what it names",
    "Limits.continuations": "counts the frames that it names",
    "Limits.control_frames": "counts what it names",
    "Limits.stream_resets": "counts what it names",
    "Limits.streams": "counts what it names, as SETTINGS_MAX_CONCURRENT_STREAMS",
    "Limits.in_flight": "a count of requests, so called by every room",
    "Policy.backoff_jitter": "a share of a span",
    "Policy.crash_loop_deaths": "counts what it names",
    "Policy.good_beats": "counts what it names",
    "Policy.max_requests": "counts what it names; so called by every server",
    "Policy.max_requests_jitter": "goes with max_requests",
    "Policy.least_workers": "counts what it names",
    "Policy.most_workers": "counts what it names",
    "Policy.renew_share": "a share",
    "Policy.rollback_5xx": "a share of answers",
    "Policy.rollback_latency": "how many times as much",
    "Policy.rollback_min_requests": "counts what it names; as max_requests",
    "Policy.worker_limit": "a count of workers",
    "Addresses.backlog": "a count of connections, so called by everybody",
    "Addresses.uds_mode": "a set of bits",
    "Privileges.umask": "a set of bits",
    "Process.workers": "counts what it names",
    "Gateways.threads": "counts what it names; so called by every server",
    "Renewal.max_requests": "as Policy",
    "Renewal.max_requests_jitter": "likewise",
    "Renewal.rollback_5xx": "likewise",
    "Renewal.rollback_latency": "likewise",
    "Renewal.rollback_min_requests": "likewise",
}
"""Numeric fields whose name needs no unit, each with the reason."""


def numeric_fields(module: Module) -> list[str]:
    """``Class.field`` of every number in the settings classes of a module."""
    return [
        f"{node.name}.{item.target.id}"
        for node in ast.walk(module.parse())
        if isinstance(node, ast.ClassDef) and node.name in CLASSES
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if {"int", "float"} & set(ast.unparse(item.annotation).split(" | "))
    ]


@cache
def find_fields() -> list[str]:
    return [field for module in iterate_modules() for field in numeric_fields(module)]


def test_the_settings_classes_are_found() -> None:
    assert {each.split(".")[0] for each in find_fields()} >= {"Limits", "Policy"}


def test_each_number_names_its_unit() -> None:
    silent = {field for field in find_fields() if not field.endswith(UNITS)}
    assert silent - WITHOUT_UNIT.keys() == set()


def test_the_allow_list_holds_only_what_exists() -> None:
    assert not WITHOUT_UNIT.keys() - set(find_fields())
