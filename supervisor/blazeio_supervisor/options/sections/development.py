"""What helps while an app is written."""

import importlib.util
import os
from dataclasses import dataclass

from blazeio_supervisor.options.kinds.kind import Flag, Many
from blazeio_supervisor.options.kinds.texts import Text
from blazeio_supervisor.options.option import Change, Section, SettingError, option

HASTE_S = 0.1
"""With ``--reload`` nothing is held or kept for longer than this."""


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Development(Section):
    """New code at each change of a file."""

    title = "Development"

    reload: bool = option(
        Flag(),
        "Load the code anew whenever a file of it changes, worker by worker; code that "
        "fails prints its traceback, and the old code goes on; at the start, the next "
        "change is waited for. --canary-hold and "
        f"--drain-idle are then {HASTE_S:g} s at most. Needs watchfiles: pip install "
        "'blazeio[dev]'.",
        default=False,
        change=Change.RESTART,
    )
    reload_dirs: tuple[str, ...] = option(
        Many(Text("DIR"), "\n"),
        "Watch this folder and all below it. May be given several times.",
        default=(),
        default_text="--app-dir, or the folder of the script",
        change=Change.RESTART,
        key="reload_dir",
    )
    reload_includes: tuple[str, ...] = option(
        Many(Text("PATTERN"), "\n"),
        "Watch files of such names too: '*.html'. May be given several times.",
        default=(),
        default_text="*.py, blazeio.toml and pyproject.toml",
        change=Change.RESTART,
        key="reload_include",
    )

    def check(self) -> None:
        """Look for what is needed."""
        if not self.reload:
            return
        if importlib.util.find_spec("watchfiles") is None:
            reason = "it needs watchfiles, which is not installed"
            raise SettingError("reload", f"{reason}: pip install 'blazeio[dev]'")
        for given in self.reload_dirs:
            if not os.path.isdir(os.path.join(self.folder, given)):
                raise SettingError("reload_dirs", f"{given} is no folder")
