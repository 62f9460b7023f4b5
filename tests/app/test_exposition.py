"""Metrics as text, read back by the parser of ``prometheus_client``."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blazeio.app.metric_series import (
    ExposedFamily,
    counter,
    gauge,
    histogram,
    info,
    write_families,
)


def read(*families: ExposedFamily) -> list[tuple[str, dict[str, str], float]]:
    text = write_families(families).decode()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def test_the_text_of_each_kind() -> None:
    requests = counter("requests", "How many.", labels=["b", "a"])
    requests.add(["2", "1"], 3)
    spans = histogram("spans", "How long.")
    spans.add_histogram((), [("0.1", 2), ("+Inf", 5)], 1.5)
    families = [
        requests,
        gauge("load", "Now.", 0.5),
        spans,
        info("program", "What.", {"version": "1"}),
    ]
    assert write_families(families).decode().splitlines() == [
        "# HELP requests_total How many.",
        "# TYPE requests_total counter",
        'requests_total{a="1",b="2"} 3.0',
        "# HELP load Now.",
        "# TYPE load gauge",
        "load 0.5",
        "# HELP spans How long.",
        "# TYPE spans histogram",
        'spans_bucket{le="0.1"} 2.0',
        'spans_bucket{le="+Inf"} 5.0',
        "spans_count 5.0",
        "spans_sum 1.5",
        "# HELP program_info What.",
        "# TYPE program_info gauge",
        'program_info{version="1"} 1.0',
    ]


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "a\\nb", "\u00e4 {} # ,", ""])
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    family = gauge("g", text, labels=["of"])
    family.add([text], 1)
    assert read(family) == [("g", {"of": text}, 1.0)]
    (parsed,) = text_string_to_metric_families(write_families([family]).decode())
    assert parsed.documentation == text


@pytest.mark.parametrize(
    "value", [0, -1, 2**53, 1e300, 1e-9, math.inf, -math.inf, 12345678.9]
)
def test_any_number_is_read_back_as_it_was(value: float) -> None:
    assert read(gauge("g", "", value)) == [("g", {}, float(value))]


def test_what_is_no_number_is_read_back_as_such() -> None:
    ((_, _, value),) = read(gauge("g", "", math.nan))
    assert math.isnan(value)


def test_samples_have_a_value_for_each_label() -> None:
    with pytest.raises(ValueError, match="shorter"):
        gauge("g", "", labels=["a", "b"]).add(["1"], 1)
