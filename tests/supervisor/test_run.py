"""``blazeio_supervisor.run``, called by a script."""

import pytest

import blazeio_supervisor
from blazeio.app.runner import run_hook


def test_a_module_that_a_worker_imports_must_not_run_a_service() -> None:
    token = run_hook.set(lambda app: None)
    try:
        with pytest.raises(RuntimeError, match="put it under `if __name__ =="):
            blazeio_supervisor.run("main:app", workers=1)
    finally:
        run_hook.reset(token)
