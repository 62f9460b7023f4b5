from blazeio.app import run_hook
from blazeio.app.app import App


def test_an_app_is_served_by_its_host_where_there_is_one() -> None:
    web = App()
    served: list[App] = []
    token = run_hook.hook.set(served.append)
    try:
        web.runner()
    finally:
        run_hook.hook.reset(token)
    assert served == [web]


def test_there_is_no_host_unless_one_is_set() -> None:
    assert run_hook.hook.get() is None
