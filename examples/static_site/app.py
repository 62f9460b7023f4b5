"""A site of files: pages, styles, downloads; and one route beside them.

cd examples/static_site && python app.py
blazeio-supervisor examples/static_site/app.py --workers 4
"""

from pathlib import Path

import blazeio as io

FOLDER = Path(__file__).parent / "public"

web = io.App("127.0.0.1", 8000)
web.add_static("/", FOLDER, headers={"Cache-Control": "max-age=60"})


@web.route.get("/download")
async def download(r):
    headers = {"Content-Disposition": 'attachment; filename="style.css"'}
    await io.Simpleserve.serve(r, FOLDER / "style.css", headers=headers)


if __name__ == "__main__":
    web.runner()
