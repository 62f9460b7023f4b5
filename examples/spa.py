"""A single-page app: its API, its files, and the page for every other path.

python examples/spa.py, then http://127.0.0.1:8000/cities/Rome
"""

from pathlib import Path

import msgspec

import blazeio as io

FOLDER = Path(__file__).parent / "spa"
CITIES = {"Rome": 2_800_000, "Turin": 850_000, "Lucca": 89_000}

web = io.App(
    "127.0.0.1",
    8000,
    headers=io.security_headers(content_security_policy="default-src 'self'"),
)
api = io.App()
api.middleware(io.Cors("http://localhost:5173"))  # the page, as a bundler serves it
web.mount("/api", api)
web.add_static("/assets", FOLDER / "assets", headers={"Cache-Control": "max-age=60"})


class Query(msgspec.Struct):
    least: int = 0


@api.route.get("/cities")
async def list_cities(r):
    query = await io.Request.get_params(r, type=Query)
    names = [name for name, size in CITIES.items() if size >= query.least]
    await io.Deliver.json(r, names)


@api.route.get("/cities/{name}")
async def show_city(r, name):
    if name not in CITIES:
        raise io.Abort("no such city", 404, json={"code": "no-city", "name": name})
    await io.Deliver.json(r, {"name": name, "size": CITIES[name]})


@api.add_route
async def handle_all_middleware(r):  # or the page would answer for the API
    raise io.Abort("no such resource", 404, json={"code": "no-resource"})


@web.add_route
async def handle_all_middleware(r):  # noqa: F811 - of the other app
    if r.method not in ("GET", "HEAD"):
        raise io.Abort("Not Found", 404)
    await io.Deliver.file(r, FOLDER / "index.html", {"Cache-Control": "no-cache"})


if __name__ == "__main__":
    web.runner()
