import os

from blazeio_supervisor.ipc.processes import read_cpu_s
from tests.support.clock import block_until


def test_the_processor_time_of_a_process_grows() -> None:
    before = read_cpu_s(os.getpid())
    assert before is not None
    block_until(lambda: (read_cpu_s(os.getpid()) or 0.0) > before)


def test_a_process_that_is_gone_has_no_time() -> None:
    assert read_cpu_s(2**22 + 1) is None
