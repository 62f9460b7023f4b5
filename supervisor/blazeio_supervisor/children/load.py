"""What a forkserver is told to load, and that in words."""

import os

from blazeio_supervisor.process.messages import Load
from blazeio_supervisor.settings import Settings


def describe_loading(why_not_once: str) -> str:
    """Say who imports the app, and why not the forkserver if it does not."""
    if not why_not_once:
        return "once for all workers"
    return (
        f"by each worker ({why_not_once}): one that is replaced runs the code that is "
        "on the disk by then"
    )


def make_load(settings: Settings, generation: int, *, is_preload: bool) -> Load:
    """Say what a forkserver is to load."""
    return Load(
        generation=generation,
        app=settings.app.text,
        folder=settings.folder,
        app_dir=settings.import_folder,
        is_preload=is_preload,
        loop=settings.loop,
        graceful_timeout_s=settings.graceful_timeout_s,
        drain_idle_s=settings.drain_s,
        log=settings.log_terms,
        master_pid=os.getpid(),
        overrides=settings.overrides,
        identity=settings.identity,
        umask=settings.umask,
        is_factory=settings.factory,
        cpus=settings.cpu_affinity,
        is_forced=settings.preload is True,
    )
