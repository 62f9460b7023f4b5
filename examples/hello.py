"""Hello as JSON and as text: `make run` serves this with eight workers.

blazeio-supervisor hello:web --app-dir examples --workers 8
python examples/hello.py
"""

import blazeio as io

web = io.App("127.0.0.1", 8000)


@web.route.get("/")
async def hello(r):
    await io.Deliver.json(r, {"hello": "world"})


@web.route.get("/text")
async def text(r):
    await io.Deliver.text(r, "Hello, world\n")


if __name__ == "__main__":
    web.runner()
