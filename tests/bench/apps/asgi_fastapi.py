"""The hello of FastAPI, and a request with a parameter and a model."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    id: int
    name: str
    price: float


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/items/{number}")
async def find_item(number: int, wanted: str = "") -> Item:
    return Item(id=number, name=wanted or "item", price=12.34)
