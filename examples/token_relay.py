"""Relays the tokens of a language model, as they come, to who may ask for them.

The key of the model's server stays here; a client has a key of its own.

MODEL_URL=https://models.example/complete MODEL_KEY=... python examples/token_relay.py
curl -N localhost:8000/ask -H 'Authorization: Bearer letmein' -d '{"prompt": "Why?"}'
"""

import hmac
import os

import msgspec

import blazeio as io

MODEL_URL = os.environ.get("MODEL_URL", "http://127.0.0.1:9000/complete")
MODEL_KEY = os.environ.get("MODEL_KEY", "")
CLIENT_KEY = os.environ.get("CLIENT_KEY", "letmein")

web = io.App("127.0.0.1", 8000)


class Question(msgspec.Struct):
    prompt: str


@web.on_start
async def open_session():
    timeouts = io.Timeouts(read_s=60)  # between two tokens
    headers = {"Authorization": f"Bearer {MODEL_KEY}"}
    web.state.session = io.Session(headers=headers, timeouts=timeouts)


@web.on_stop
async def close_session():
    await web.state.session.aclose()


@web.middleware
async def only_with_a_key(r, call_next):
    expected = f"Bearer {CLIENT_KEY}".encode()
    if not hmac.compare_digest(r.headers.get("authorization", "").encode(), expected):
        raise io.Abort("Who are you?", 401, {"WWW-Authenticate": "Bearer"})
    await call_next(r)


@web.route.post("/ask", content_bytes=100_000)
async def ask(r):
    question = await io.Request.get_json(r, type=Question)
    asked = {"prompt": question.prompt, "stream": True}
    # the client goes: this handler is cancelled, and so is the request of the model
    async with web.state.session.post(MODEL_URL, json=asked) as resp:
        resp.raise_for_status()
        async with io.EventStream(r) as stream:
            async for event in resp.events():
                if event.data == "[DONE]":
                    break
                await stream.send(event.data)
            await stream.send("end", event="end")


if __name__ == "__main__":
    web.runner()
