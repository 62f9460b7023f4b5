"""Files are opened by their names in one room, which examines whose they are.

A process that may be root (the master, a forkserver until it is the app's user, an
upgrade and its rehearsal, a verb) opens, makes, renames and removes files by the
functions of ``files``; the rest is listed here with the reason.
"""

import ast
from collections.abc import Iterator

from tests.support.tree import PACKAGES, REPOSITORY, Module, iterate_modules

ROOMS = ("blazeio_supervisor.files", "blazeio_supervisor.trust")
OF_OS = {
    "open",
    "chmod",
    "chown",
    "lchown",
    "link",
    "makedirs",
    "mkdir",
    "mkfifo",
    "mknod",
    "remove",
    "removedirs",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
    "utime",
}
"""Functions of ``os``, and of ``io``, that take the name of a file."""
METHODS = {"read_bytes", "read_text", "touch", "write_bytes", "write_text"}
"""Of ``pathlib.Path``; what else has such names is listed, too."""
MODULES = {"shutil", "tempfile", "fileinput", "glob"}
"""Nothing of these opens with any care."""
KERNEL = "the kernel's own files, in which nobody makes links"
OWN = "its own code, by the path from which it was imported"
KIND = "the text of a setting, and no file"
ALLOWED = {
    "cli.doctor_machine": KERNEL,
    "ipc.socket_paths": "names in /run: a verb believes the peer, not the file",
    "cli.output": "/dev/null",
    "cli.queries": "shutil asks the terminal for its width",
    "worker.overrides": "the working directory, which it stands in",
    "worker.fork_safety": KERNEL,
    "worker.profiler": KERNEL,
    "master.resources": KERNEL,
    "config.environment": KERNEL,
    "config.types": KIND,
    "config.option": KIND,
    "config.http": KIND,
    "cli.unit": "the templates that are installed with it",
    "ipc.processes": KERNEL,
    "ipc.signals": "/dev/tty, the terminal that controls it",
    "worker.forkserver": "descriptors of its own, once more",
    "worker.starting": "descriptors of its own, once more; a file, for a guess",
    "isolation": "/dev/null, and descriptors of its own",
    "sockets.bind": "the kernel's tables in /proc/net; else O_PATH of what was just "
    "made, and in a folder that it holds",
    "master.upgrade.image": OWN,
}


def iterate_supervisor() -> Iterator[Module]:
    root = REPOSITORY / PACKAGES["blazeio_supervisor"]
    for module in iterate_modules():
        if module.path.is_relative_to(root) and not module.name.startswith(ROOMS):
            yield module


def opens_by_name(tree: ast.Module) -> list[int]:
    """The lines on which something is done with a file by its name."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_by_name(node.func)
    ]


def _is_by_name(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id == "open"
    if not isinstance(called, ast.Attribute):
        return False
    of = called.value.id if isinstance(called.value, ast.Name) else ""
    return (
        (of in ("os", "io") and called.attr in OF_OS)
        or called.attr in METHODS
        or of in MODULES
    )


def test_only_one_room_opens_files_by_their_names() -> None:
    found = {
        module.name: lines
        for module in iterate_supervisor()
        if (lines := opens_by_name(module.parse()))
        and module.name.removeprefix("blazeio_supervisor.") not in ALLOWED
    }
    assert not found


def test_the_allow_list_holds_only_what_is_needed() -> None:
    opening = {
        module.name.removeprefix("blazeio_supervisor.")
        for module in iterate_supervisor()
        if opens_by_name(module.parse())
    }
    assert not ALLOWED.keys() - opening


def test_each_way_of_opening_is_found() -> None:
    for code in (
        "open('x')",
        "os.open('x', 0)",
        "os.rename('x', 'y')",
        "Path('x').read_text()",
        "file.write_bytes(b'')",
        "shutil.copy('x', 'y')",
        "io.open('x')",
    ):
        assert opens_by_name(ast.parse(code)) == [1], code
    assert not opens_by_name(ast.parse("self.open(); os.getpid(); listeners.open()"))
