"""How mutants are tried: each in a fork of a pytest that has collected the tests.

First the tests run once as they are, in a fork, so that nothing is remembered that
they leave in caches: which lines of which file a test reaches, and how long it takes.
For each mutant another fork makes its change, and runs the tests that reach the
changed function, those first that have noticed others of its mutants. It costs some
ten milliseconds; pytest by itself would take a second to begin.
"""

import faulthandler
import gc
import importlib
import inspect
import mmap
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeVar

import pytest
from _pytest.python import DirectParamFixtureDef
from _pytest.tmpdir import tmppath_result_key
from coverage import Coverage
from coverage.exceptions import CoverageWarning

from tests.mutants.kept import (
    NOTICED,
    REFUSED,
    SURVIVED,
    TIMED_OUT,
    UNREACHED,
    UNTRIED,
    Journal,
    Kept,
    Outcome,
    sum_up,
)
from tests.mutants.making import Mutant, make_mutants
from tests.mutants.typing_check import find_wrongly_typed
from tests.support.tree import PACKAGES, REPOSITORY, iterate_files

SLACK_S = 10.0
SLACK_CPU_S = 2.0
"""What a test may take more than ``SLOWER`` times what it took as the code is."""
SLOWER = 20.0
MEMORY_BYTES = 1 << 30
"""What a mutant may take more than the process had."""
_Result = TypeVar("_Result")
OPTIONS = (
    *("-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "timeout=0"),
    *("-o", "tmp_path_retention_policy=none", "--capture=sys"),
)


@dataclass(slots=True)
class Found:
    """What became of the mutants of a room.

    Attributes:
        outcomes: Of each.
        failed: The tests that fail without any change; they are left out.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reach:
    """What the tests reach: file and line to tests, and how long each test takes."""

    tests: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]
    failed: list[str]


def try_mutants(
    places: list[str],
    tests: list[str],
    chosen: str,
    seconds: float,
    children: int,
    again: bool,
    resumes: bool,
) -> Found:
    """Try every mutant of some files and folders, in a process of its own.

    Args:
        places: From the root of the repository.
        tests: The folders whose tests should notice.
        chosen: An expression of markers, as pytest's ``-m`` has it.
        seconds: What is not tried by then is left out.
        children: So many mutants are tried at once.
        again: Believe what was noticed last time, and try the others.
        resumes: Go on where the last run was ended, if nothing has changed since.
    """
    files = [
        path
        for place in places
        for path in sorted((REPOSITORY / place).rglob("*.py")) or [REPOSITORY / place]
    ]
    kept = Kept(REPOSITORY / "build/mutants.jsonl")
    journal = _open_journal([*places, "by", *tests, chosen])
    trying = _Trying(files, seconds, children, journal)
    trying.resumes = resumes
    if again:
        trying.noticed_before = kept.read_noticed()
    pytest.main([*OPTIONS, "-m", chosen, *tests], plugins=[trying])
    kept.write(trying.found.outcomes)
    if not any(each.became == UNTRIED for each in trying.found.outcomes):
        journal.end()
    return trying.found


def _open_journal(words: list[str]) -> Journal:
    """Return the journal of the same places and tests, of files as they are now."""
    name = f"mutants-{sum_up((), *words)[:12]}.jsonl"
    sources = (path for path in iterate_files() if path.suffix in (".py", ".toml"))
    return Journal(REPOSITORY / "build" / name, sum_up(sources, *words))


class _Trying:
    """A plugin of pytest: it tries mutants where pytest would run the tests."""

    def __init__(
        self, files: list[Path], seconds: float, children: int, journal: Journal
    ) -> None:
        self.found = Found()
        self.resumes = False
        self.noticed_before: dict[tuple[str, str, str], str] = {}
        self._files = files
        self._journal = journal
        self._parent = os.getppid()
        self._end_at = time.monotonic() + seconds
        self._told_at = 0.0
        self._children = children
        self._items: dict[str, pytest.Function] = {}
        self._reach = _Reach({}, {}, [])
        self._mutants: list[Mutant] = []
        self._became: dict[int, str] = {}
        self._running: dict[int, int] = {}
        self._noticing: dict[tuple[str, str], Counter[int]] = {}

    def pytest_configure(self) -> None:
        """Have examples generated only, and the same ones each time.

        What a mutant fails is of no use later; what is noticed by chance is not known.
        """
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", database=None, deadline=None, derandomize=True, phases=phases
        )
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try the mutants instead of running the tests."""
        self._items = {
            item.nodeid: item
            for item in session.items
            if isinstance(item, pytest.Function)
        }
        self._reach = _run_in_fork(self._find_reach)
        self._leave_out(self._reach.failed)
        self._leave_out(_run_in_fork(self._find_unfit))
        self._mutants = [
            mutant
            for path in self._files
            for mutant in make_mutants(path, _import(path))
        ]
        gc.collect()
        gc.freeze()
        self._try_all()
        left = {
            n: self._mutants[n]
            for n, became in self._became.items()
            if became == SURVIVED
        }
        refused = find_wrongly_typed(left.values())
        self._became |= {n: REFUSED for n, mutant in left.items() if mutant in refused}
        self.found.outcomes = [
            Outcome(*self._mutants[number].key, became)
            for number, became in sorted(self._became.items())
        ]
        return True

    def _leave_out(self, failed: list[str]) -> None:
        self.found.failed += failed
        for name in failed:
            del self._items[name]

    def _find_unfit(self) -> list[str]:
        """Return the tests that fail against a mutant which changes nothing."""
        self._set_bounds()
        names = sorted(self._items, key=self._reach.seconds.__getitem__)
        return [name for name in names if not _passes(self._items[name])]

    def _find_reach(self) -> _Reach:
        """Run the tests as they are."""
        files = [str(path) for path in self._files]
        coverage = Coverage(data_file=None, config_file=False, include=files)
        seconds: dict[str, float] = {}
        failed: list[str] = []
        coverage.start()
        for name, item in self._items.items():
            coverage.switch_context(name)
            begun_at = time.monotonic()
            if not _passes(item):
                failed.append(name)
            seconds[name] = time.monotonic() - begun_at
        coverage.stop()
        with warnings.catch_warnings():
            # Nothing was reached of a module that has tables only.
            warnings.simplefilter("ignore", CoverageWarning)
            data = coverage.get_data()
        tests = {
            path: {
                line: set(names) - {"", *failed}
                for line, names in data.contexts_by_lineno(path).items()
            }
            for path in files
        }
        return _Reach(tests, seconds, failed)

    def _try_all(self) -> None:
        # By mutant: the number of the test that noticed.
        notes = mmap.mmap(-1, 4 * (len(self._mutants) + 1))
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._end)
        known = self._journal.begin(resumes=self.resumes)
        for number, mutant in enumerate(self._mutants):
            self._tell(number)
            if number in known and known[number].key == mutant.key:
                self._became[number] = known[number].became
                continue
            if mutant.key in self.noticed_before:
                self._became[number] = self.noticed_before[mutant.key]
                continue
            if time.monotonic() > self._end_at:
                self._became[number] = UNTRIED
                continue
            tests = self._choose_tests(mutant)
            if not tests:
                if not mutant.runs_at_import:
                    self._became[number] = UNREACHED
                continue
            while len(self._running) >= self._children:
                self._wait(notes)
            pid = os.fork()
            if not pid:
                self._try_one(mutant, tests, memoryview(notes)[4 * number :])
            self._running[pid] = number
        while self._running:
            self._wait(notes)

    def _stop(self, number: int, frame: object) -> None:
        """Leave out what was not tried yet: what is known by now is kept."""
        self._end_at = time.monotonic()

    def _end(self, number: int = 0, frame: object = None) -> NoReturn:
        """End at once, with the mutants that run; the journal has the others."""
        for pid in self._running:
            _kill_group(pid)
        os._exit(1)

    def _tell(self, number: int) -> None:
        if os.getppid() != self._parent:  # it was killed: nobody waits for an answer
            self._end()
        if time.monotonic() < self._told_at + 15:
            return
        self._told_at = time.monotonic()
        counts = dict(Counter(self._became.values()))
        print(f"{number} of {len(self._mutants)}", counts, file=sys.__stderr__)

    def _choose_tests(self, mutant: Mutant) -> list[int]:
        """Return the numbers of the tests that reach a mutant, the best first.

        Raises:
            KeyError: Nothing is known of its file.
        """
        names = list(self._items)
        by_line = self._reach.tests[str(REPOSITORY / mutant.place)]
        # The line of the ``def`` itself runs when the module is imported.
        inside = mutant.lines[1:]
        reaching = set[str]().union(
            *(by_line.get(line, ()) for line in mutant.at if line in inside)
        ) or set[str]().union(*(by_line.get(line, ()) for line in inside))
        if not mutant.lines:
            reaching = set(names)
        noticing = self._noticing.setdefault((mutant.place, mutant.owner), Counter())
        numbers = {name: number for number, name in enumerate(names)}
        seconds = self._reach.seconds
        return sorted(
            (numbers[name] for name in reaching if name in numbers),
            key=lambda number: (-noticing[number], seconds[names[number]], number),
        )

    def _try_one(self, mutant: Mutant, tests: list[int], note: memoryview) -> NoReturn:
        """Run the tests against a mutant; the process ends here."""
        self._set_bounds()
        items = list(self._items.values())
        mutant.apply()
        for number in tests:
            seconds = SLOWER * self._reach.seconds[items[number].nodeid]
            signal.alarm(int(SLACK_S + seconds))
            signal.setitimer(signal.ITIMER_PROF, SLACK_CPU_S + seconds)
            if not _passes(items[number]):
                note[:4] = number.to_bytes(4, "big")
                os._exit(1)
        os._exit(0)

    @staticmethod
    def _set_bounds() -> None:
        """Bound what a process of mutants takes; its own children end with it."""
        os.setpgid(0, 0)
        faulthandler.disable()
        for each in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("error")  # as pytest has them

    def _wait(self, notes: mmap.mmap) -> None:
        pid, status = os.waitpid(-1, 0)
        number = self._running.pop(pid)
        mutant = self._mutants[number]
        _kill_group(pid)
        became = SURVIVED
        if os.WIFSIGNALED(status):
            late = os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGPROF)
            became = TIMED_OUT if late else NOTICED
        elif os.WEXITSTATUS(status):
            became = NOTICED
            test = int.from_bytes(notes[4 * number : 4 * number + 4], "big")
            self._noticing[mutant.place, mutant.owner][test] += 1
        self._became[number] = became
        self._journal.note(number, Outcome(*mutant.key, became))


def _kill_group(pid: int) -> None:
    """End a process of mutants, and what its tests have started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _passes(item: pytest.Item) -> bool:
    """Run a test, without the report, which takes longer than most."""
    assert isinstance(item, pytest.Function)
    arguments = _find_arguments(item)
    if arguments is not None:
        return _returns(item.obj, **arguments)
    item._initrequest()  # it may have run before
    item.stash[tmppath_result_key] = {}  # what the report would leave to ``tmp_path``
    hooks = item.ihook
    passed = _returns(hooks.pytest_runtest_setup, item=item) and _returns(
        hooks.pytest_runtest_call, item=item
    )
    return _returns(hooks.pytest_runtest_teardown, item=item, nextitem=None) and passed


def _find_arguments(item: pytest.Function) -> dict[str, object] | None:
    """Return the arguments of a plain test; None of one that needs pytest's help.

    Such a test is a function called with values of a table: 5x faster by itself.
    """
    if inspect.iscoroutinefunction(item.function):
        return None
    values = item.callspec.params if hasattr(item, "callspec") else {}
    fixtures = item._fixtureinfo.name2fixturedefs
    for name in item.fixturenames:
        if name not in (*values, "leak_guard", "request"):
            return None
        if name in values and not isinstance(fixtures[name][-1], DirectParamFixtureDef):
            return None
    wanted = inspect.signature(item.obj).parameters
    if not values.keys() >= wanted.keys():
        return None
    return {name: values[name] for name in wanted}


def _returns(function: Callable[..., object], **arguments: object) -> bool:
    try:
        function(**arguments)
    except pytest.skip.Exception:
        return True
    except BaseException:  # pytest.exit, too: a mutant may break anything
        return False
    return True


def _import(path: Path) -> ModuleType:
    for name, folder in PACKAGES.items():
        root = REPOSITORY / folder
        if path.is_relative_to(root):
            parts = path.relative_to(root).with_suffix("").parts
            kept = [part for part in parts if part != "__init__"]
            return importlib.import_module(".".join([name, *kept]))
    raise AssertionError(path)


def _run_in_fork(function: Callable[[], _Result]) -> _Result:
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if not pid:
            try:
                pickle.dump(function(), file)
                file.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        if status:
            sys.exit(f"{function.__name__} has failed, status {status}")
        file.seek(0)
        found: _Result = pickle.load(file)
        return found
