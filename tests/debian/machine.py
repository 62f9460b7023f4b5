"""A fresh Debian 12 in namespaces of this machine, and who works on it.

Its root is made by debootstrap, once, in ``build/debian``; each machine writes to a
layer of its own above that. Its network is a loopback of its own: every port is free
there, and nothing is fetched. What pip installs lies in ``/wheels``, put there before
by the settings of this machine's pip; a clone of this repository in ``/srv``.
"""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.clock import scaled
from tests.support.namespaces import need_namespaces
from tests.support.tree import REPOSITORY

RELEASE = "bookworm"
CLONE = "/srv/blazeio.git"
"""What newcomers clone."""
PACKAGES = ("python3", "python3-venv", "make", "git", "curl", "ca-certificates")
"""What README and tutorial ask for; git makes the clone."""
COMMAND_S = 400.0

_KEPT = REPOSITORY / "build/debian"
_SITE = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_MOUNTS = """
root=$1
mount --rbind /dev "$root/dev"
mount -t proc none "$root/proc"
mount -t tmpfs -o mode=1777 none "$root/tmp"
"""
_DOWNLOAD = f"""
{_MOUNTS}
exec chroot "$root" sh -ec '
python3 -m venv /tmp/venv
/tmp/venv/bin/pip install --quiet --upgrade "pip>=25.1"
cd /wheels
/tmp/venv/bin/pip wheel --quiet --wheel-dir . --requirement packages.txt
'
"""
_BOOT = f"""
umask 022
root=$1 layer=$2 base=$3
layers="lowerdir=$base,upperdir=$layer/upper,workdir=$layer/work"
mount -t overlay -o "$layers" none "$root"
{_MOUNTS}
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 none "$root/dev/pts"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t sysfs none "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
hostname debian
ip link set lo up
# Not only a chroot: the paths of open files would begin outside of it.
cd "$root"
mkdir old
pivot_root . old
umount --lazy old
rmdir old
echo up
exec sleep infinity
"""
_HOSTS = """\
127.0.0.1 localhost
127.0.1.1 debian
::1 localhost ip6-localhost ip6-loopback
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@cache
def why_not() -> str:
    """Why no such machine can be made here; "" when it can."""
    need_namespaces("--mount", "--net", "--pid", "--fork")
    for program, package in (("debootstrap", "debootstrap"), ("ip", "iproute2")):
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is missing: apt-get install {package}"
    return "" if find_mirror() else f"apt has no source of Debian's {RELEASE} here"


def find_mirror() -> str:
    """Where this machine's apt has the release from; "" when it has it not."""
    done = subprocess.run(
        [*_SITE, "Created-By: Packages"], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in done.stdout.splitlines())
    found = (row[0] for row in rows if row[1:] == [RELEASE, "main"])
    return next(found, "")


def make_base() -> Path:
    """Make what all machines have below their own layer; keep it in ``build/``.

    It is made anew by the next run when the requirements have changed.
    """
    _KEPT.mkdir(parents=True, exist_ok=True)
    base, made = _KEPT / "base", _KEPT / ".stamp"
    with (_KEPT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the tests may make it
        packages = "\n".join(list_packages())
        if not made.exists():
            shutil.rmtree(base, ignore_errors=True)
            _bootstrap(base)
        if not made.exists() or made.read_text() != packages:
            (base / "wheels/packages.txt").write_text(packages)
            _download(base)
            made.write_text(packages)
    return base


def _bootstrap(base: Path) -> None:
    words = ["--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE]
    subprocess.run(
        ["debootstrap", *words, str(base), find_mirror()],
        env={"PATH": _PATH},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (base / "wheels").mkdir()
    # Debian's installer writes it, debootstrap does not.
    (base / "etc/hosts").write_text(_HOSTS)
    # Whoever clones is not who owns it.
    (base / "etc/gitconfig").write_text('[safe]\n\tdirectory = "*"\n')


def list_packages() -> list[str]:
    """What ``make test`` and the documents install, beside this project."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    def expand(name: str) -> list[str]:
        found: list[str] = []
        for each in groups[name]:
            found += [each] if isinstance(each, str) else expand(each["include-group"])
        return found

    built_by = [*project["build-system"]["requires"], "editables~=0.3"]  # --editable
    all_ = [*project["project"]["dependencies"], *built_by, "pip>=25.1"]
    return sorted({*all_, *expand("dev")})


def _download(base: Path) -> None:
    """Have its own pip put everything into ``/wheels``, by this machine's settings."""
    listed = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    environ = {"PATH": _PATH, "HOME": "/tmp", "LANG": "C.UTF-8"}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        (word,) = shlex.split(value)
        if not re.match("(file:)?/", word):  # a path of this machine
            setting = name.rpartition(".")[2].upper().replace("-", "_")
            environ[f"PIP_{setting}"] = word
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if name in os.environ:
            environ[name] = os.environ[name]
    shutil.copy("/etc/resolv.conf", base / "etc/resolv.conf")
    trusted = base / "wheels/trusted.crt"  # of this machine, which may have more
    shutil.copy(os.environ.get("PIP_CERT", _CERTIFICATES), trusted)
    environ["PIP_CERT"] = "/wheels/trusted.crt"
    unshare = ["unshare", "--mount", "--propagation", "private"]
    try:
        command = [*unshare, "sh", "-ec", _DOWNLOAD, "sh", str(base)]
        subprocess.run(command, env=environ, check=True)
    finally:
        trusted.unlink()
        (base / "etc/resolv.conf").unlink()


class Machine:
    """One machine with one newcomer; use it in a ``with``.

    Args:
        user: ``root``, or another name: a user with a closed home folder.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.home = "/root" if user == "root" else f"/home/{user}"

    def __enter__(self) -> Self:
        base = make_base()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self.user}-", dir=_KEPT))
        root, layer = self._folder / "root", self._folder / "layer"
        for each in (root, layer / "upper", layer / "work"):
            each.mkdir(parents=True)
        clone = ["git", "clone", "--quiet", "--bare", str(REPOSITORY)]
        subprocess.run([*clone, f"{layer}/upper{CLONE}"], check=True)
        own = ["--mount", "--propagation", "private", "--net", "--pid", "--uts"]
        own.append("--mount-proc")
        # Nothing of it outlives this process, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *own]
        command += ["--fork", "--kill-child", "sh", "-ec", _BOOT, "sh"]
        self._process = subprocess.Popen(
            [*command, str(root), str(layer), str(base)],
            env={"PATH": _PATH},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        self._first = Path(children).read_text().strip()
        if self.user != "root":
            make = ["useradd", "-m", "-s", "/bin/bash", "-K", "HOME_MODE=0700"]
            subprocess.run(self._inside("root", *make, self.user), check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._folder)

    def _inside(self, user: str, *command: str) -> list[str]:
        enter = ["nsenter", "--target", self._first, "--mount", "--net", "--pid"]
        enter.append("--uts")
        switch = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        environ = {
            "HOME": self.home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/wheels",
        }
        words = [f"{name}={value}" for name, value in environ.items()]
        return [*enter, *switch, "env", "-i", *words, *command]

    def command(self, typed: str, *, has_terminal: bool = False) -> list[str]:
        """What types something into a shell of the user, in the home folder."""
        words = ["bash", "-c", f"cd && {typed}"]
        if has_terminal:
            words = ["script", "--quiet", "--return", "--flush", "--command"]
            words += [f"cd && {typed}", "/dev/null"]
        return self._inside(self.user, *words)

    def type(self, typed: str, *, has_terminal: bool = False) -> str:
        """Type something, and return what it prints when it has ended well."""
        done = subprocess.run(
            self.command(typed, has_terminal=has_terminal),
            input=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=scaled(COMMAND_S),
            check=False,
        )
        told = done.stdout.decode(errors="backslashreplace")
        assert done.returncode == 0, f"{self.user}$ {typed}\n{told}"
        return told
