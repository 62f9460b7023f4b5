"""An app's user may write some files; none of them makes root do anything."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.service import APP, Service, change
from tests.support.clock import block_until
from tests.support.live import LiveServers, resolve, run_to_exit
from tests.support.namespaces import let_everybody_read_python
from tests.support.users import NOBODY, give, need_root
from tests.support.variations import vary

pytestmark = pytest.mark.slow

TRAP = """
import os
with open({ran!r}, "a") as file:
    file.write(f"{{os.getuid()}}\\n")
"""
LOOKING = change(
    APP,
    "\n@web.add_route\nasync def pid",
    """
@web.add_route
async def environment(r, route="/environment"):
    import extra
    words = os.environ["PYTHONPATH"], os.environ["HOME"], extra.word
    await io.Deliver.text(r, " ".join(words))

@web.add_route
async def pid""",
)


class FoldersOfTwoUsers:
    """Root's folder with the settings, and the folder of the app and its user.

    Attributes:
        ran: Holds the uid of each process that has run code of the app's user's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = folder / "app"
        self.library = folder / "library"
        self.ran = folder / "ran"
        self.config = folder / "blazeio.toml"
        for each in (self.app, self.library):
            each.mkdir()
            give(each)
        (self.app / "app.py").write_text(LOOKING)
        (self.library / "extra.py").write_text("word = 'found'\n")
        self.ran.write_text("")
        self.ran.chmod(0o666)

    def command(self, *options: str) -> list[str]:
        words = ["blazeio-supervisor", "app:web", "--user", "nobody", "--workers", "1"]
        more = ["--app-dir", str(self.app), "--canary-hold", "0", "--drain-idle", "0.2"]
        return let_everybody_read_python(
            resolve([*words, *more, "--bind", "127.0.0.1:0", *options]),
            self.folder / "aside",
        )

    def arm(self) -> None:
        """From now on whoever imports from the user's folders leaves a word."""
        trap = TRAP.format(ran=str(self.ran))
        for name in ("sitecustomize.py", "usercustomize.py", "json.py", "zipfile.py"):
            give_text(self.library / name, trap)
            give_text(self.app / name, trap)

    def who_ran(self) -> set[str]:
        return set(self.ran.read_text().split())


def give_text(path: Path, text: str) -> None:
    path.write_text(text)
    give(path)


@pytest.fixture
def folders(open_folder: Path) -> FoldersOfTwoUsers:
    need_root()
    return FoldersOfTwoUsers(open_folder)


@pytest.mark.long
def test_root_runs_nothing_of_the_apps_user(
    live_server: LiveServers, folders: FoldersOfTwoUsers
) -> None:
    """At the start of a generation, at its reload, in an upgrade and its rehearsal."""
    given = f"{folders.app}/lib:{folders.library}"
    folders.config.write_text(f'env = {{PYTHONPATH = "{given}", HOME = "/nowhere"}}')
    server = live_server.start(
        folders.command("--config", str(folders.config), "--control", "c.sock"),
        cwd=folders.folder,
        env={"PYTHONPATH": f"{folders.library}:{folders.app}:"},
    )
    service = Service(server, folders.folder)
    service.wait_count(1)
    assert "event=open_to_others" in server.log  # of the PYTHONPATH of root's own
    expected = f"{given} /nowhere found"
    assert service.get("/environment").text == expected
    look = ["blazeio-supervisor", "config", "--control", "c.sock"]
    for words, is_shown in (((), False), (("--json",), False), (("--show-env",), True)):
        done = run_to_exit([*look, *words], cwd=folders.folder)
        assert (done.returncode, given in done.stdout) == (0, is_shown), done.stdout
        assert "PYTHONPATH=" in done.stdout
    folders.arm()
    service.reload(2)
    assert folders.who_ran() == {str(NOBODY)}  # the trap works
    verb = ["blazeio-supervisor", "upgrade", "--control", "c.sock"]
    done = run_to_exit(verb, cwd=folders.folder, timeout_s=30)
    assert done.returncode == 0, done.stdout + done.stderr + server.log
    service.reload(3)
    assert service.get("/environment").text == expected
    assert folders.who_ran() == {str(NOBODY)}, server.log


def test_a_module_in_the_working_directory_is_none_of_roots(
    folders: FoldersOfTwoUsers,
) -> None:
    folders.arm()
    command = folders.command("--print-config", "--no-config")
    at = next(n for n, word in enumerate(command) if word.endswith("-supervisor"))
    python = [resolve(["python"])[0], "-m", "blazeio_supervisor"]
    done = run_to_exit([*command[:at], *python, *command[at + 1 :]], cwd=folders.app)
    assert done.returncode == 0, done.stderr
    assert folders.who_ran() == set()


@pytest.mark.long
def test_settings_that_the_user_may_write_are_refused(
    live_server: LiveServers, folders: FoldersOfTwoUsers
) -> None:
    """At the start, and at a reload; what others may not write is read."""
    settings = folders.app / "blazeio.toml"
    give_text(settings, "workers = 1\n")
    done = run_to_exit(folders.command(), cwd=folders.app)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f"{folders.app} belongs to nobody (uid 65534)" in line
    assert "root must not trust it" in line

    project = folders.app / "pyproject.toml"
    settings.unlink()
    give_text(project, "[project]\nname = 'theirs'\n")
    done = run_to_exit(folders.command("--print-config"), cwd=folders.app)
    assert done.returncode == 0, done.stderr  # it has no word for us
    give_text(project, "[tool.blazeio]\nworkers = 1\n")
    done = run_to_exit(folders.command("--print-config"), cwd=folders.app)
    assert done.returncode == 2
    assert "root must not trust it" in done.stderr
    project.unlink()
    os.mkfifo(settings)
    done = run_to_exit(folders.command("--print-config"), cwd=folders.app)
    assert done.returncode == 2
    assert "is a pipe (FIFO), and no regular file" in done.stderr

    folders.config.write_text("env_file = 'env'\nworkers = 1\n")
    variables = folders.folder / "env"
    variables.write_text("WORD=first\n")
    server = live_server.start(
        folders.command("--config", "blazeio.toml"), cwd=folders.folder
    )
    service = Service(server, folders.folder)
    service.wait_count(1)
    give(variables)
    server.signal(signal.SIGHUP)
    server.wait_for_log(
        rf"event=reload_failed .*{variables} belongs to nobody \(uid 65534\)"
    )
    assert service.get().status == 200


@pytest.mark.long
def test_a_certificate_is_not_read_for_whoever_may_exchange_it(
    folders: FoldersOfTwoUsers,
) -> None:
    key = folders.folder / "root.key"
    key.write_text("secret")
    link = folders.app / "web.pem"
    link.symlink_to(key)
    give(link)
    done = run_to_exit(
        folders.command("--certfile", str(link), "--no-config"), cwd=folders.folder
    )
    assert done.returncode == 2
    assert f"TLS certfile {link}: {link} is a symbolic link that nobody" in done.stderr
    pipe = folders.folder / "pipe"
    os.mkfifo(pipe)
    done = run_to_exit(
        folders.command("--certfile", str(pipe), "--no-config"), cwd=folders.folder
    )
    assert done.returncode == 2
    assert f"TLS certfile {pipe}: {pipe} is a pipe (FIFO)" in done.stderr


@vary("kind", ["symbolic", "hard", "pipe"])
def test_rotation_leads_root_to_no_other_file(
    live_server: LiveServers, folders: FoldersOfTwoUsers, kind: str
) -> None:
    victim = folders.folder / "victim"
    victim.write_text("root's\n")
    log = folders.app / "log"
    server = live_server.start(
        folders.command("--log-file", str(log), "--pid-file", f"{folders.app}/pid"),
        cwd=folders.folder,
        ready="^$",
    )
    block_until(lambda: log.exists() and "event=ready " in log.read_text(), 60, "ready")
    old = log.rename(folders.app / "log.1")
    if kind == "symbolic":
        log.symlink_to(victim)
    elif kind == "hard":
        os.link(victim, log)
    else:
        os.mkfifo(log)
    server.signal(signal.SIGUSR1)
    failure = "going on with the old one"
    block_until(lambda: failure in old.read_text(), 5, "rotation")
    if kind == "pipe":
        log.unlink()
        server.signal(signal.SIGUSR1)
        block_until(lambda: log.exists() and "reopened" in log.read_text(), 5)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert victim.read_text() == "root's\n"
