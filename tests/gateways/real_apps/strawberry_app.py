import asyncio
from collections.abc import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, upto: int = 3) -> AsyncGenerator[int, None]:
        for number in range(upto):
            yield number
            await asyncio.sleep(0)


app = GraphQL(strawberry.Schema(query=Query, subscription=Subscription))
