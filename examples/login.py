"""Sessions with a login; needs pip install itsdangerous jinja2.

python examples/login.py, then http://localhost:8000/, as ada, password "engine".
"""

import asyncio
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import blazeio as io

SECRETS = os.environ.get("SESSION_SECRETS") or secrets.token_urlsafe()
SALT = b"one for each user, in a real app"


def derive(password):
    return hashlib.scrypt(password.encode(), salt=SALT, n=2**14, r=8, p=1)


USERS = {"ada": derive("engine")}
NOBODY = derive(secrets.token_urlsafe())  # so that both take as long

web = io.App("127.0.0.1", 8000, headers=io.security_headers())
sessions = io.CookieSessions(SECRETS.split(","))  # a new secret goes to the front
templates = io.Templates(Path(__file__).parent / "login")
web.middleware(sessions)


@web.middleware
async def demand_login(r, call_next):
    is_open = r.path in (r.url_for("login"), r.url_for("log_in"))
    if is_open or sessions.of(r).get("user") in USERS:
        await call_next(r)
    else:
        await io.Deliver.redirect(r, r.url_for("login"), 303)


@web.route.get("/")
async def home(r):
    session = sessions.of(r)
    session["visits"] = session.get("visits", 0) + 1
    await templates.render(r, "home.html", **session)


@web.route.get("/login")
async def login(r):
    await templates.render(r, "login.html")


@web.route.post("/login", content_bytes=10_000)
async def log_in(r):
    form = await io.Request.form_data(r)
    name = form.get("name", "")
    derived = await asyncio.to_thread(derive, form.get("password", ""))
    if not hmac.compare_digest(derived, USERS.get(name, NOBODY)):
        await templates.render(r, "login.html", status=401, wrong=True, name=name)
        return
    sessions.of(r).clear()
    sessions.of(r)["user"] = name
    await io.Deliver.redirect(r, r.url_for("home"), 303)


@web.route.post("/logout")
async def log_out(r):
    sessions.of(r).clear()
    await io.Deliver.redirect(r, r.url_for("login"), 303)


if __name__ == "__main__":
    web.runner()
