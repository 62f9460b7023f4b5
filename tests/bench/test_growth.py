"""What a request costs does not grow with what it has nothing to do with.

That are other routes, fields, and whatever the app declares and does not use; and, for
a client, time: each change that adds a little is seen here.

By instructions, since a clock says something else on each machine.
"""

import pytest

from tests.bench.instructions import count_instructions
from tests.support.programs import find_program

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("valgrind"),
]


@pytest.fixture
def valgrind() -> str:
    return find_program("valgrind")


@pytest.mark.parametrize("kind", ["routes", "patterns"])
def test_a_thousand_routes_cost_a_request_what_ten_do(kind: str) -> None:
    counts = count_instructions([f"10 {kind}", f"1000 {kind}"])
    assert counts[f"1000 {kind}"] < 1.03 * counts[f"10 {kind}"]


def test_each_of_many_fields_costs_what_each_of_a_few_does() -> None:
    counts = count_instructions(["1 fields", "10 fields", "50 fields"])
    few = (counts["10 fields"] - counts["1 fields"]) / 9
    many = (counts["50 fields"] - counts["10 fields"]) / 40
    assert many < 1.1 * few


def test_what_is_declared_and_not_used_costs_nothing() -> None:
    """Metrics, broadcasts, tasks, warming, handover, a profile that is not taken."""
    counts = count_instructions(["nothing declared", "all declared"])
    assert counts["all declared"] < 1.01 * counts["nothing declared"]


def test_a_get_of_a_session_costs_what_it_did() -> None:
    """Beside a protocol that does nothing else; 80,600 to 21,500 on Python 3.11."""
    counts = count_instructions(["client", "bare protocol"])
    assert counts["client"] < 3.85 * counts["bare protocol"]
