"""The chart of ``make bench``: it shows what was measured, and where."""

import xml.etree.ElementTree as ElementTree

from tests.bench.chart import LABEL_WIDTH, VALUE_WIDTH, WIDTH, draw_chart
from tests.bench.report import Result

SVG = "{http://www.w3.org/2000/svg}"


def make_result(name: str, cpu_us: float) -> Result:
    return Result(name, cpu_us, 1000.0, 1.0, 2.0, 1024, 0)


def test_bars_are_as_long_as_the_times_and_sorted() -> None:
    results = [
        make_result("a <b>", 40.0),
        make_result("blazeio-supervisor", 10.0),
        make_result("nginx", 5.0),
    ]
    chart = draw_chart(results, ["2026-11-30, a machine", "make bench ARGS='--x'"])
    tree = ElementTree.fromstring(chart)
    bars = tree.findall(f"{SVG}rect")
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths == [round(room / 8, 1), round(room / 4, 1), room]
    assert [bar.get("class") for bar in bars] == ["bar", "ours", "bar"]
    texts = [text.text for text in tree.findall(f"{SVG}text")]
    assert [each for each in texts if each in ("nginx", "a <b>")] == ["nginx", "a <b>"]
    assert "2026-11-30, a machine" in texts
    assert "make bench ARGS='--x'" in texts
