"""How a profile is written."""

import xml.etree.ElementTree as ET

import pytest

from blazeio_supervisor.cli import profile as module
from blazeio_supervisor.cli.profile import (
    describe_profile,
    write_collapsed,
    write_flame,
    write_table,
)
from blazeio_supervisor.ipc.status_api import MemoryLine, Profiled

NAMES = ["GET /a", "serve (app.py:1)", "hot (app.py:9)", "GET /b", "<cold> & ;(a.py:2)"]
STACKS = [([0, 1, 2], 80), ([0, 1], 10), ([3, 4], 10)]
PROFILE = Profiled(
    100, 1.0, NAMES, [(list(s), n) for s, n in STACKS], 5, own_cpu_s=0.012
)
SVG = "{http://www.w3.org/2000/svg}"


def test_the_head_says_what_was_seen_and_what_it_cost() -> None:
    assert describe_profile(PROFILE, "slot 0") == (
        "slot 0: 100 looks in 1.0 s: 100 stacks at work, 5 more only waited; the "
        "profile itself took 1.2 % of a core"
    )


def test_a_table_has_the_share_of_each_function_alone_and_in_all() -> None:
    assert write_table(PROFILE).splitlines() == [
        "  self   total  function",
        " 80.0 %  80.0 %  hot (app.py:9)",
        " 10.0 %  90.0 %  serve (app.py:1)",
        " 10.0 %  10.0 %  <cold> & ;(a.py:2)",
        "  0.0 %  90.0 %  GET /a",
        "  0.0 %  10.0 %  GET /b",
    ]


def test_a_table_is_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_ROWS", 2)
    assert write_table(PROFILE).splitlines()[3:] == ["and 3 more functions"]


def test_a_recursive_function_counts_once_in_all() -> None:
    profile = Profiled(1, 1.0, ["a", "b"], [([0, 1, 0, 1], 7)])
    assert write_table(profile).splitlines()[1:] == [
        "100.0 % 100.0 %  b",
        "  0.0 % 100.0 %  a",
    ]


def test_stacks_are_collapsed_with_one_separator() -> None:
    assert write_collapsed(PROFILE).splitlines() == [
        "GET /a;serve (app.py:1);hot (app.py:9) 80",
        "GET /a;serve (app.py:1) 10",
        "GET /b;<cold> & ,(a.py:2) 10",
    ]


def test_a_flame_graph_is_svg_with_a_title_for_each_frame() -> None:
    root = ET.fromstring(write_flame(PROFILE, "slot 0 & more"))
    groups = root.findall(f"{SVG}g")
    titles = {str(g.findtext(f"{SVG}title")) for g in groups}
    assert titles == {
        "all (100 samples, 100.0 %)",
        "GET /a (90 samples, 90.0 %)",
        "serve (app.py:1) (90 samples, 90.0 %)",
        "hot (app.py:9) (80 samples, 80.0 %)",
        "GET /b (10 samples, 10.0 %)",
        "<cold> & ;(a.py:2) (10 samples, 10.0 %)",
    }
    assert root.findtext(f"{SVG}text") == "slot 0 & more"


def test_a_frame_stands_upon_who_has_called_it_and_is_as_wide_as_its_share() -> None:
    root = ET.fromstring(write_flame(PROFILE, ""))
    places = {}
    for group in root.findall(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        x, y, width = (float(rect.attrib[key]) for key in ("x", "y", "width"))
        places[str(group.findtext(f"{SVG}title")).split(" (")[0]] = x, y, width
    hot, serve, whole = places["hot"], places["serve"], places["all"]
    assert hot[1] < serve[1] < places["GET /a"][1] < whole[1]
    assert serve[0] <= hot[0] <= hot[0] + hot[2] <= serve[0] + serve[2] + 0.2
    assert hot[2] == pytest.approx(whole[2] * 0.8, abs=0.2)


def test_what_cannot_be_seen_is_left_out() -> None:
    stacks = [([0], 100_000), ([1], 1)]
    text = write_flame(Profiled(1, 1.0, ["wide", "narrow"], stacks), "")
    assert "wide" in text
    assert "narrow" not in text


def test_nothing_is_written_as_well() -> None:
    profile = Profiled(0, 1.0)
    assert "all (0 samples, 0.0 %)" in write_flame(profile, "")
    assert write_collapsed(profile) == ""
    assert len(write_table(profile).splitlines()) == 1


def test_texts_of_others_command_neither_terminal_nor_browser() -> None:
    profile = Profiled(1, 1.0, ["\x1b[2J</title><script>\x00"], [([0], 1)])
    svg = write_flame(profile, "\x1b]0;")
    ET.fromstring(svg)
    for text in (svg, write_table(profile), write_collapsed(profile)):
        assert "\x1b" not in text
        assert "\x00" not in text
    assert "<script>" not in svg


def test_memory_is_a_table_of_lines() -> None:
    lines = [MemoryLine("a.py:3", 2048, 7, 4096), MemoryLine("b.py:1", -1024, -1, 0)]
    assert write_table(Profiled(memory=lines)).splitlines() == [
        "     grown   blocks       size  line",
        "    +2 KiB       +7      4 KiB  a.py:3",
        "    -1 KiB       -1      0 KiB  b.py:1",
    ]
