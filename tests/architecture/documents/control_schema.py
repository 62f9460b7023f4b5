"""docs/reference/control-schema.json: the control socket, as JSON Schema."""

import inspect
import json
from typing import Any

import msgspec

from blazeio_supervisor.cli.doctor import DoctorReport
from blazeio_supervisor.ipc import control_api, status_api
from blazeio_supervisor.log.formats import EventRecord

OF_WORKERS = {status_api.ProfileWish, status_api.Sampled}
"""What goes between master and worker only."""


def list_structs() -> list[type[msgspec.Struct]]:
    """Every order, answer and part of one."""
    return [
        value
        for module in (control_api, status_api)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
        and value not in OF_WORKERS
    ] + [EventRecord]


def make_schema() -> dict[str, Any]:
    """Describe all of them, and what ``doctor --json`` prints."""
    kinds = [*list_structs(), DoctorReport]
    _, definitions = msgspec.json.schema_components(kinds)
    number = status_api.SCHEMA
    return {
        "title": f"The control socket of blazeio-supervisor, schema {number}",
        "$defs": json.loads(
            json.dumps(_clean(definitions)).replace("#/components/schemas/", "#/$defs/")
        ),
    }


def _clean(part: Any) -> Any:
    """Indent descriptions alike: since 3.13 the compiler does it to docstrings."""
    if isinstance(part, dict):
        return {name: _clean(each) for name, each in part.items()}
    if isinstance(part, list | tuple):
        return [_clean(each) for each in part]
    return inspect.cleandoc(part) if isinstance(part, str) else part


def write_schema() -> str:
    """Write it, sorted, so that a change of it is seen."""
    return json.dumps(make_schema(), indent=2, sort_keys=True) + "\n"
