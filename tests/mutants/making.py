"""What is changed: one thing in a function, or one entry of a table.

mutmut knows what to change in a function (a comparison, a number, a text, an argument
left out), and is asked for that alone. A changed function is compiled by itself, and
its code takes the place of the code of the function that the tests have imported: the
repository is not copied, and nothing is imported twice. What a function did while
modules were imported, such as building a table, stays as it was.

A module with the states of a connection has each entry of their table changed instead.
"""

import ast
import codecs
import difflib
import gc
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import libcst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import ChildReplacementTransformer, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

from tests.support.tree import REPOSITORY


@dataclass(frozen=True, slots=True, eq=False)
class Mutant:
    """One change.

    Attributes:
        place: The file, from the root of the repository.
        owner: The qualified name of the function or table.
        change: The lines that are new, without their indentation.
        lines: Those of the function; none of a table.
        at: Those of what is changed in it.
        apply: Makes the change in this process, which cannot be undone.
        changed: The changed function; None for a table.
        runs_at_import: The module itself calls the function.
    """

    place: str
    owner: str
    change: str
    lines: range
    at: range
    apply: Callable[[], None]
    changed: libcst.FunctionDef | None = None
    runs_at_import: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is, also after other lines have changed."""
        return self.place, self.owner, self.change

    def __str__(self) -> str:
        """Where it is, and what it changes."""
        return f"{self.place}: {self.owner}: {self.change}"


class _Visitor(MutationVisitor):
    """mutmut's own leaves out what is decorated: its trampolines would not fit."""

    def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.FunctionDef) and node.decorators:
            return False
        return bool(super()._skip_node_and_children(node))


def make_mutants(path: Path, module: ModuleType) -> Iterator[Mutant]:
    """Make every mutant of a module that is imported."""
    text = path.read_text()
    called = _find_called_at_import(ast.parse(text))
    wrapper = MetadataWrapper(libcst.parse_module(text))
    visitor = _Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    existing = _find_functions(path)
    place = str(path.relative_to(REPOSITORY))
    names = dict(_iterate_functions(wrapper.module))
    if hasattr(module, "NEXT_STATE"):
        yield from _change_tables(place, module)
        return
    for mutation in visitor.mutations:
        if _is_same_codec(mutation.original_node, mutation.mutated_node):
            continue
        node = mutation.contained_by_top_level_function
        if not isinstance(node, libcst.FunctionDef):
            continue
        owner = names[node]
        lines, at = (
            range(span.start.line, span.end.line + 1)
            for span in (positions[node], positions[mutation.original_node])
        )
        # A property has a setter of the same name, an overload its stubs.
        function = min(
            existing.get(owner, ()),
            key=lambda each: abs(each.__code__.co_firstlineno - lines.start),
            default=None,
        )
        if function is None:
            continue
        replacer = ChildReplacementTransformer(
            mutation.original_node, mutation.mutated_node
        )
        changed = node.visit(replacer)
        assert isinstance(changed, libcst.FunctionDef)
        old, new = (_write(each) for each in (node, changed))
        apply = _compile(old, new, function, module)
        if apply is not None:
            yield Mutant(
                *(place, owner, _tell_change(old, new), lines, at, apply, changed),
                runs_at_import=owner in called,
            )


def _is_same_codec(old: libcst.CSTNode, new: libcst.CSTNode) -> bool:
    """Tell whether both are the name of one codec: Python does not mind its case."""
    if not isinstance(old, libcst.SimpleString) or not isinstance(
        new, libcst.SimpleString
    ):
        return False
    names = [str(each.evaluated_value) for each in (old, new)]
    try:
        return codecs.lookup(names[0]) == codecs.lookup(names[1])
    except (LookupError, ValueError):  # it is no name, or has a NUL
        return False


def _write(function: libcst.FunctionDef) -> str:
    plain = function.with_changes(decorators=[], leading_lines=[])
    code: str = libcst.Module([plain]).code
    return code


def _iterate_functions(
    module: libcst.Module,
) -> Iterator[tuple[libcst.CSTNode, str]]:
    for node in module.body:
        if isinstance(node, libcst.FunctionDef):
            yield node, node.name.value
        elif isinstance(node, libcst.ClassDef):
            for each in node.body.body:
                if isinstance(each, libcst.FunctionDef):
                    yield each, f"{node.name.value}.{each.name.value}"


def _find_called_at_import(module: ast.Module) -> set[str]:
    """Find the functions that a module calls by their names while it is imported."""
    statements = [
        each
        for each in module.body
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    return {
        node.func.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _find_functions(path: Path) -> dict[str, list[FunctionType]]:
    """Find the functions of a file that exist, those below a decorator, too."""
    found: dict[str, list[FunctionType]] = {}
    gc.unfreeze()  # else those that a test's module has frozen are not among them
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename == str(path):
            found.setdefault(each.__code__.co_qualname, []).append(each)
    return found


def _tell_change(old: str, new: str) -> str:
    lines = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    fresh = [line[2:].strip() for line in lines if line.startswith("+ ")]
    gone = [line.strip() for line in lines if line.startswith("- ")]
    return " ".join(fresh or gone)


def _compile(
    old: str, new: str, function: FunctionType, module: ModuleType
) -> Callable[[], None] | None:
    """Compile a changed function.

    Returns:
        What puts it in the place of the function; None when the compiler sees no
        difference, or the change does not fit into its surroundings.
    """
    before, _ = _define(old, function, module)
    code, changed = _define(new, function, module)
    unchanged = changed is None or not _differ_in_defaults(function, changed)
    if _sum_up(before) == _sum_up(code) and unchanged:
        return None
    if code.co_freevars != function.__code__.co_freevars:
        return None

    def apply() -> None:
        function.__code__ = code
        if changed is not None:
            function.__defaults__ = changed.__defaults__
            function.__kwdefaults__ = changed.__kwdefaults__

    return apply


def _define(
    text: str, function: FunctionType, module: ModuleType
) -> tuple[CodeType, FunctionType | None]:
    """Define a function again, in its class, with the names of its module."""
    *outer, name = function.__code__.co_qualname.split(".")
    if outer:
        text = f"class {outer[0]}:\n{textwrap.indent(text, '    ')}"
    head = "from __future__ import annotations\n"
    whole = compile(head + text, function.__code__.co_filename, "exec")
    codes = [each for each in whole.co_consts if isinstance(each, CodeType)]
    if outer:
        codes = [each for each in codes[0].co_consts if isinstance(each, CodeType)]
    names = dict(vars(module))
    try:
        exec(whole, names)
    except Exception:  # a default that is a name of the class
        return codes[-1], None
    defined = vars(names[outer[0]])[name] if outer else names[name]
    return codes[-1], getattr(defined, "__func__", defined)


def _differ_in_defaults(function: FunctionType, changed: FunctionType) -> bool:
    return (
        function.__defaults__ != changed.__defaults__
        or function.__kwdefaults__ != changed.__kwdefaults__
    )


def _sum_up(code: CodeType) -> tuple[object, ...]:
    """Return what of a code decides what it does: not where its lines are."""
    constants = tuple(
        _sum_up(each) if isinstance(each, CodeType) else (type(each), repr(each))
        for each in code.co_consts
    )
    return (
        *(code.co_code, constants, code.co_names, code.co_varnames),
        *(code.co_freevars, code.co_cellvars, code.co_exceptiontable),
    )


def _change_tables(place: str, module: ModuleType) -> Iterator[Mutant]:
    """Change each entry of a module's dictionaries, also of those in a tuple."""
    for name, value in vars(module).items():
        rows = value if isinstance(value, tuple) else (value,)
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or name.startswith("_"):
                continue
            others = {each for row in rows for each in row.values()}
            for key, old in row.items():
                for other in sorted(others - {old}, key=str):
                    change = f"[{number}][{key}] = {other}"
                    apply = _set_entry(row, key, other)
                    yield Mutant(place, name, change, range(0), range(0), apply)
                apply = _remove_entry(row, key)
                yield Mutant(
                    place, name, f"del [{number}][{key}]", range(0), range(0), apply
                )


def _set_entry(
    row: dict[object, object], key: object, value: object
) -> Callable[[], None]:
    return lambda: row.__setitem__(key, value)


def _remove_entry(row: dict[object, object], key: object) -> Callable[[], None]:
    return lambda: row.__delitem__(key)
