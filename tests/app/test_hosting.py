from blazeio.app import hosting
from blazeio.app.app import App


def test_an_app_is_served_by_its_host_where_there_is_one() -> None:
    web = App()
    served: list[App] = []
    token = hosting.host.set(served.append)
    try:
        web.runner()
    finally:
        hosting.host.reset(token)
    assert served == [web]


def test_there_is_no_host_unless_one_is_set() -> None:
    assert hosting.host.get() is None
