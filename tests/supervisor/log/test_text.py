from blazeio_supervisor.log.formats import find_subject, fold_own_frames

SAID = """\
Current thread 0x1 (most recent call first):
  File "/srv/app.py", line 8 in block
  File "/lib/blazeio_supervisor/worker/worker.py", line 9 in _serve
  File "/lib/blazeio_supervisor/worker/worker.py", line 5 in run
  File "<frozen runpy>", line 88 in _run_code

worker=1 slot=0 gen=2 pid=77: its loop is in GET /a: b (for 1.0 s); nothing else
"""


def test_how_the_worker_was_started_is_left_out() -> None:
    assert fold_own_frames(SAID).splitlines()[1:4] == [
        '  File "/srv/app.py", line 8 in block',
        "  (from here on the worker's own start)",
        "",
    ]
    assert fold_own_frames("no stack") == "no stack"


def test_what_its_loop_is_in_is_found() -> None:
    said = "its loop is in GET /a: b (for 1.0 s); nothing else"
    assert find_subject(SAID) == said
    assert find_subject(SAID.partition("\n\n")[0]) == ""
