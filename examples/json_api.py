"""A JSON API: notes, by id, in a sub-app below /api; a task forgets old ones.

The notes are in memory, so it is for one process: python examples/json_api.py

auth='Authorization: Bearer letmein'
curl -i localhost:8000/api/notes -H "$auth" -d '{"text": "buy milk"}'
curl -i localhost:8000/api/notes/1 -H "$auth"
"""

import asyncio
import time
from itertools import count

import msgspec

import blazeio as io

KEEP_S = 3600
SWEEP_EVERY_S = 60

web = io.App("127.0.0.1", 8000)
api = io.App()
web.mount("/api", api)


class NewNote(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class Note(msgspec.Struct):
    id: int
    text: str
    written_at: float


notes: dict[int, Note] = {}
new_id = count(1).__next__


@api.add_route
async def before_middleware(r):  # for all that is below /api
    if r.headers.get("authorization") != "Bearer letmein":
        raise io.Abort("Who are you?", 401, {"WWW-Authenticate": "Bearer"})


def find(id):
    if id not in notes:
        raise io.Abort(f"There is no note {id}", 404)
    return notes[id]


@api.route.get("/notes")
async def list_notes(r):
    await io.Deliver.json(r, list(notes.values()))


@api.route.post("/notes", content_bytes=10_000)
async def add_note(r):
    new = await io.Request.get_json(r, type=NewNote)  # or 422, naming the field
    note = Note(new_id(), new.text, time.time())
    notes[note.id] = note
    await io.Deliver.json(r, note, 201, {"Location": f"/api/notes/{note.id}"})


@api.route.get("/notes/{id:int}")
async def show_note(r, id):
    await io.Deliver.json(r, find(id))


@api.route.put("/notes/{id:int}", content_bytes=10_000)
async def change_note(r, id):
    note = find(id)
    note.text = (await io.Request.get_json(r, type=NewNote)).text
    await io.Deliver.json(r, note)


@api.route.delete("/notes/{id:int}")
async def remove_note(r, id):
    del notes[find(id).id]
    await io.Deliver.no_content(r)


@web.add_task
async def sweep():
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        for note in list(notes.values()):
            if note.written_at < time.time() - KEEP_S:
                del notes[note.id]


if __name__ == "__main__":
    web.runner()
