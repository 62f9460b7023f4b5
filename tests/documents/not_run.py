"""What documents show and no test of a document runs, each with the reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NotRun:
    """Some commands or blocks that are only read.

    Attributes:
        page: The document.
        start: How the command, or the block, begins.
        reason: Why it is not run here, and what runs it instead.
    """

    page: str
    start: str
    reason: str


_SUPERVISOR = "docs/reference/supervisor.md"
_TUTORIAL = "docs/tutorial/index.md"
_INSTALLS = "installs; tests/test_wheel.py does, and tests/debian for these pages"
_UNIT = "refused below /tmp, where tests are; tests/supervisor/cli/test_units.py"
_THEIRS = "theirs; ours is tests/supervisor/config/test_foreign_options.py"
_README = "installs, or serves without an end; tests/architecture/test_readme.py"
NOT_RUN = (
    NotRun(_TUTORIAL, "python3 -m venv", _INSTALLS),
    NotRun(_TUTORIAL, ". .venv/bin/activate", _INSTALLS),
    NotRun(_TUTORIAL, "pip install", _INSTALLS),
    NotRun(_TUTORIAL, "blazeio-supervisor unit", _UNIT),
    NotRun("docs/how-to/deploy.md", "blazeio-supervisor unit", _UNIT),
    NotRun("docs/how-to/development.md", "pip install", _INSTALLS),
    NotRun(
        "docs/how-to/app-metrics.md",
        "blazeio-supervisor main:app --bridge-prometheus",
        "needs an app of prometheus_client; tests/process/test_app_metrics.py",
    ),
    NotRun(
        "docs/how-to/rollback.md",
        "blazeio-supervisor reload --wait; echo",
        "needs new code that fails; tests/process/test_error_budget.py",
    ),
    NotRun(
        "docs/how-to/several-machines.md",
        "ansible-playbook",
        "needs three machines; tests/deploy/test_ansible.py makes them",
    ),
    NotRun(
        "docs/how-to/logs.md",
        "python examples/statsd_exporter.py",
        "goes on without an end; tests/examples/test_statsd_exporter.py",
    ),
    NotRun(
        "docs/how-to/dashboard.md",
        "ssh -L",
        "needs another machine; the command behind it is the one above",
    ),
    NotRun(
        "docs/how-to/profiling.md",
        "blazeio-supervisor profile 0",
        "takes ten seconds and more; tests/process/test_profile.py takes shorter ones",
    ),
    NotRun(
        "docs/how-to/command-line.md",
        "blazeio-supervisor completion bash",
        "writes below the home folder; tests/supervisor/cli/test_completion.py",
    ),
    NotRun(
        "docs/how-to/command-line.md",
        "export BLAZEIO_INSTANCE",
        "tests find theirs by $RUNTIME_DIRECTORY; tests/supervisor/cli/test_looking.py",
    ),
    NotRun("docs/how-to/upgrades.md", "pip install", _INSTALLS),
    NotRun(
        "docs/how-to/reload-and-rollback.md",
        "ln -sfn releases/42 current",
        "needs two releases; tests/process/test_working_folder.py moves such a link",
    ),
    *(
        NotRun(f"docs/coming-from/{name}.md", f"{name} ", _THEIRS)
        for name in ("gunicorn", "uvicorn", "granian", "hypercorn")
    ),
    NotRun("README.md", "blazeio-supervisor main:app --workers 8", _README),
    NotRun("README.md", "python app.py", _README),
    NotRun("README.md", "python3 -m venv", _INSTALLS),
    NotRun("README.md", ". .venv/bin/activate", _INSTALLS),
    NotRun("README.md", "pip install", _INSTALLS),
    NotRun("README.md", "make run", _README),
    NotRun(
        "docs/how-to/state-and-databases.md",
        "@web.on_start\nasync def open_pool",
        "needs PostgreSQL; the program above it has the same shape, and is run",
    ),
    NotRun(
        "docs/reference/client.md",
        "python -m blazeio https://example.com/",
        "asks a host on the network; tests/fetch asks servers of its own",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor app.py --bind unix:/run/app.sock",
        "/run belongs to root; tests/process/test_boot.py serves on a unix socket",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor app:web --bind :443",
        "a port that may be taken; tests/process/test_certificates.py serves HTTPS",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor app:web --forwarded-allow-ips",
        "logs below /var; tests/process/test_overrides.py has both options",
    ),
    NotRun(_SUPERVISOR, "pip install", _INSTALLS),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor app:web --reload",
        "needs edits to be seen; tests/process/test_watching.py makes some",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor upgrade",
        "the version in it is made up; tests/process/test_upgrade.py upgrades",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor reload --wait; echo",
        "needs a broken edit; tests/process/test_reload.py makes one",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor events --last 3",
        "shows a crash and a reload; tests/supervisor/cli/test_event_lines.py has both",
    ),
    NotRun(
        _SUPERVISOR,
        "blazeio-supervisor stack",
        "shows a blocked worker; tests/process/test_blocked.py blocks one",
    ),
)
