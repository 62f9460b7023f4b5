import pytest

from blazeio_supervisor.config.command_line import expand
from blazeio_supervisor.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "own"),
    [
        ("app:web --workers 4", "app:web --workers 4"),
        ("-w 4 app:web", "--workers 4 app:web"),
        ("-w4 app:web", "--workers 4 app:web"),
        ("-w=4 app:web", "--workers 4 app:web"),
        ("-b :80 -b unix:/a app", "--bind :80 --bind unix:/a app"),
        ("app --host 0.0.0.0 --port 80", "app --bind 0.0.0.0:80"),
        ("app --host=0.0.0.0", "app --bind 0.0.0.0:8000"),
        ("app --port 80", "app --bind 127.0.0.1:80"),
        ("app --host ::1 --port=80", "app --bind [::1]:80"),
        ("app -k uvicorn.workers.UvicornWorker", "app --interface asgi"),
        ("app -k uvicorn_worker.UvicornWorker", "app --interface asgi"),
        ("app --worker-class asgi", "app --interface asgi"),
        ("app -k sync", "app --interface wsgi"),
        ("app -kgthread --threads 2", "app --interface wsgi --threads 2"),
        ("app --proxy-headers", "app --forwarded-allow-ips 127.0.0.1,::1,unix"),
        (
            "app --proxy-headers --forwarded-allow-ips *",
            "app --forwarded-allow-ips *",
        ),
        ("app --no-proxy-headers", "app"),
    ],
)
def test_other_spellings_become_our_own(typed: str, own: str) -> None:
    assert expand(typed.split()) == own.split()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("app -w", "Option '-w' requires an argument"),
        ("app --port", "Option '--port' requires an argument"),
        ("app -k gevent", "-k gevent: there are no worker classes"),
    ],
)
def test_what_means_nothing_here_is_told(typed: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        expand(typed.split())
