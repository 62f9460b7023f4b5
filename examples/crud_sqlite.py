"""Create, read, update and delete books in SQLite: python examples/crud_sqlite.py

curl localhost:8000/books -d '{"title": "Emma", "year": 1815}'
"""

import asyncio
import os
import sqlite3
from contextlib import closing

import msgspec

import blazeio as io

DATABASE = os.environ.get("BOOKS", "books.sqlite")
TABLE = "CREATE TABLE IF NOT EXISTS book (id INTEGER PRIMARY KEY, title, year)"

web = io.App("127.0.0.1", 8000)


class Book(msgspec.Struct):
    title: str
    year: int


def run(sql, values):
    with closing(sqlite3.connect(DATABASE)) as database, database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(sql, values)]


async def execute(sql, *values):  # SQLite blocks: in a thread, not on the loop
    return await asyncio.to_thread(run, sql, values)


async def deliver_one(r, rows):
    if not rows:
        raise io.Abort("there is no such book", 404, json={"error": "no such book"})
    await io.Deliver.json(r, rows[0])


@web.on_start
async def create_table():
    await execute(TABLE)


@web.route.get("/books")
async def list_books(r):
    await io.Deliver.json(r, await execute("SELECT * FROM book ORDER BY year"))


@web.route.post("/books")
async def add_book(r):
    book = await io.Request.get_json(r, type=Book)  # or 422, naming what is wrong
    sql = "INSERT INTO book (title, year) VALUES (?, ?) RETURNING *"
    (row,) = await execute(sql, book.title, book.year)
    await io.Deliver.json(r, row, 201, {"Location": r.url_for("book", id=row["id"])})


@web.route.get("/books/{id:int}", name="book")
async def show_book(r, id):
    await deliver_one(r, await execute("SELECT * FROM book WHERE id = ?", id))


@web.route.put("/books/{id:int}")
async def change_book(r, id):
    book = await io.Request.get_json(r, type=Book)
    sql = "UPDATE book SET title = ?, year = ? WHERE id = ? RETURNING *"
    await deliver_one(r, await execute(sql, book.title, book.year, id))


@web.route.delete("/books/{id:int}")
async def remove_book(r, id):
    await deliver_one(r, await execute("DELETE FROM book WHERE id = ? RETURNING *", id))


if __name__ == "__main__":
    web.runner()
