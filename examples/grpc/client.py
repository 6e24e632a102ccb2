"""A conversation with `app.py`, by a client that learns the messages from the server: python client.py [TARGET]."""

import asyncio
import sys

from cello.grpc import GrpcChannel, GrpcError

SERVICE = "chat.v1.Rooms"


async def main(target: str) -> None:
    async with await GrpcChannel.connect(target) as channel:
        print(await channel.call(SERVICE, "Say", {"room": "tea", "author": "Ada", "text": "hello"}))
        try:
            await channel.call(SERVICE, "Get", {"name": "coffee"})
        except GrpcError as error:
            print(error.code.name, error.message)
        said = [{"room": "tea", "author": "Ada", "text": text} for text in ("one", "two")]
        async for message in channel.stream(SERVICE, "Converse", said):
            print(message["author"], message["text"])


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
