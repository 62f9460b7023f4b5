"""An upload with validation and progress: the file is never in memory as a whole.

python examples/upload.py, then open http://127.0.0.1:8000/
curl -F title=Holiday -F file=@photo.jpg http://127.0.0.1:8000/upload
"""

import asyncio
import hashlib
import os
import secrets
from pathlib import Path

import blazeio as io

FOLDER = Path(os.environ.get("UPLOADS", "uploads"))
FILE_BYTES = 1024**3

web = io.App("127.0.0.1", 8000, content_bytes=FILE_BYTES)

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Upload</title>
<form>
  <p><label>Title <input name="title" required></label>
  <p><input type="file" name="file" required> <button>Send</button>
  <p><progress max="1" value="0"></progress> <output></output>
</form>
<script>
const form = document.querySelector("form");
const bar = document.querySelector("progress");
const output = document.querySelector("output");
form.addEventListener("submit", event => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  request.upload.onprogress = e => { bar.value = e.loaded / e.total; };
  request.onload = () => { output.textContent = request.responseText; };
  request.onerror = () => { output.textContent = "The upload failed"; };
  request.open("POST", "/upload");
  request.send(new FormData(form)); // the title stands before the file, as in the page
});
</script>
"""


@web.route.get("/")
async def page(r):
    await io.Deliver.html(r, PAGE)


@web.route.post("/upload")
async def upload(r):
    form = await io.Request.form_data(r)  # the file still arrives
    if not form.get("title", "").strip():
        raise io.Abort("A title, before the file", 400)
    if form.upload is None:
        raise io.Abort("No file", 400)
    size, digest = await keep(r, form.upload.safe_filename)
    await io.Deliver.json(
        r,
        {
            "title": form["title"],
            "filename": form.upload.safe_filename,
            "size": size,
            "sha256": digest,
        },
        201,
    )


async def keep(r, name):
    """Write the file beside its place; it takes it, once it is whole."""
    FOLDER.mkdir(exist_ok=True)
    part = FOLDER / f".{secrets.token_hex(8)}.part"
    size, digest = 0, hashlib.sha256()
    try:
        with part.open("xb") as file:
            async for chunk in r.pull():  # as fast as the disk, no faster
                await asyncio.to_thread(file.write, chunk)
                digest.update(chunk)
                size += len(chunk)
        part.replace(FOLDER / name)
    finally:  # also when the client goes away, which cancels the handler
        part.unlink(missing_ok=True)
    return size, digest.hexdigest()


if __name__ == "__main__":
    web.runner()
