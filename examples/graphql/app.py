"""A library in GraphQL: queries, a mutation, a subscription, and authors loaded in one go.

    python examples/graphql/app.py

Open http://127.0.0.1:8000/graphql for GraphiQL, and try

    { books { title author { name } } }
    subscription { added { title } }       in one tab, and in another
    mutation { add(title: "Emma", author: 1) { id } }

It keeps its books in memory, so it is for one worker; what is added is told by a channel, which would reach them all.
"""

import itertools
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cello import App, GraphQLConfig
from cello.graphql import DataLoader, Field

app = App()
app.enable_graphql(GraphQLConfig.development())

AUTHORS = {1: "Jane Austen", 2: "Mary Shelley"}
BOOKS: dict[int, "Book"] = {}
numbers = itertools.count(1)
lock = threading.Lock()


@dataclass
class Author:
    id: int
    name: str

    @Field
    def books(self, info) -> "list[Book]":
        """What they wrote."""
        return [book for book in BOOKS.values() if book.author_id == self.id]


async def load_authors(ids: list[int]) -> list[Author | None]:
    """Find many authors at once: where this was a database, it would be one statement for a whole query."""
    return [Author(id, AUTHORS[id]) if id in AUTHORS else None for id in ids]


authors = DataLoader(load_authors)


@dataclass
class Book:
    id: int
    title: str
    author_id: int

    @Field
    async def author(self, info) -> Author:
        """Who wrote it."""
        return await authors.load(self.author_id)


@app.graphql.query
def books(info, search: str = "") -> list[Book]:
    return [book for book in BOOKS.values() if search.lower() in book.title.lower()]


@app.graphql.query
async def author(info, id: int) -> Author | None:
    return await authors.load(id)


@app.graphql.mutation
async def add(info, title: str, author: int) -> Book:
    if author not in AUTHORS:
        raise ValueError(f"there is no author {author}")
    with lock:
        book = Book(next(numbers), title, author)
        BOOKS[book.id] = book
    await app.channel("books").publish(book.id)
    return book


@app.graphql.subscription
async def added(info) -> AsyncIterator[Book]:
    async with app.channel("books").subscribe() as heard:
        async for id in heard:
            yield BOOKS[id]


for title, by in (("Persuasion", 1), ("Frankenstein", 2)):
    number = next(numbers)
    BOOKS[number] = Book(number, title, by)

if __name__ == "__main__":
    app.run()
