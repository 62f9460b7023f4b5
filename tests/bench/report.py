"""The result of a run, as a table for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.contestants import BASE, OURS
from tests.bench.throughput import Throughput

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """One contestant, measured.

    Attributes:
        name: Of the contestant.
        cpu_us: CPU microseconds of its whole process tree per request.
        requests_per_s: With the server on one core, wrk on another.
        p50_ms: Median latency.
        p99_ms: 99th percentile of it.
        pss_bytes: Memory of the tree right after the load.
        error_count: Requests that failed.
    """

    name: str
    cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    pss_bytes: int
    error_count: int


def format_table(results: Sequence[Result]) -> str:
    """One line each, fastest first, with the ratio to nginx and to ours."""
    head = (
        f"{'server':20} {'us CPU/request':>14} {'x nginx':>8} {'x ours':>8}"
        f" {'requests/s':>11} {'p50 ms':>7} {'p99 ms':>7} {'PSS MiB':>8} {'errors':>7}"
    )
    ordered = sorted(results, key=lambda each: each.cpu_us)
    lines = [_format_line(each, results) for each in ordered]
    return "\n".join([head, "-" * len(head), *lines])


def _format_line(result: Result, results: Sequence[Result]) -> str:
    return (
        f"{result.name:20} {result.cpu_us:14.2f}"
        f" {_ratio(result, (BASE,), results):>8} {_ratio(result, OURS, results):>8}"
        f" {result.requests_per_s:11,.0f} {result.p50_ms:7.2f} {result.p99_ms:7.2f}"
        f" {result.pss_bytes / MIB:8.1f} {result.error_count:7}"
    )


def _ratio(result: Result, names: Sequence[str], results: Sequence[Result]) -> str:
    cpu_us = {each.name: each.cpu_us for each in results if each.cpu_us}
    bases = [cpu_us[name] for name in names if name in cpu_us]
    return f"{result.cpu_us / bases[0]:.2f}" if bases else "-"


def format_throughput(results: Sequence[Throughput]) -> str:
    """One line each, with how many times as fast we are."""
    head = (
        f"{'move':16} {'server':14} {'GB/s':>6} {'ours/it':>8} {'CPU s/GiB':>10}"
        f" {'its/ours':>9} {'grown MiB':>10}"
    )
    ours = {each.move: each for each in results if each.name in OURS}
    lines = [_format_throughput(each, ours.get(each.move)) for each in results]
    return "\n".join([head, "-" * len(head), *lines])


def _format_throughput(result: Throughput, ours: Throughput | None) -> str:
    speed = f"{ours.gb_per_s / result.gb_per_s:.2f}" if ours else "-"
    is_known = ours is not None and ours.cpu_s_per_gib
    cpu = (
        f"{result.cpu_s_per_gib / ours.cpu_s_per_gib:.2f}" if ours and is_known else "-"
    )
    return (
        f"{result.move:16} {result.name:14} {result.gb_per_s:6.2f} {speed:>8}"
        f" {result.cpu_s_per_gib:10.2f} {cpu:>9} {result.grown_bytes / MIB:10.1f}"
    )
