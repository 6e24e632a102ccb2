"""A chat room by gRPC: unary calls, streams both ways, errors, and the same for browsers over gRPC-Web.

python examples/grpc/app.py                 gRPC at 50051, HTTP and gRPC-Web at 8000
python examples/grpc/client.py              a conversation with it
cello grpc proto examples/grpc/app.py:app   its .proto, for clients in other languages

grpcurl -plaintext -d '{"room": "tea", "author": "Ada", "text": "hello"}' localhost:50051 chat.v1.Rooms/Say
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cello import App, GrpcConfig
from cello.grpc import GrpcError, GrpcRequest, GrpcService, grpc_method

app = App()
app.enable_grpc(GrpcConfig(address=os.environ.get("GRPC_ADDRESS", "127.0.0.1:50051"), enable_web=True))
app.enable_cors()
app.enable_health_checks()


@dataclass
class Message:
    room: str
    author: str
    text: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Room:
    name: str
    messages: int


class Rooms(GrpcService, name="chat.v1.Rooms"):
    """Rooms are kept by this worker alone; what is said is heard in all of them, through a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms: dict[str, list[Message]] = {}

    @grpc_method
    async def Say(self, message: Message) -> Room:
        if not message.text.strip():
            raise GrpcError(GrpcError.INVALID_ARGUMENT, "Say something.", {"field": "text"})
        said = self.rooms.setdefault(message.room, [])
        said.append(message)
        await app.channel(message.room).publish({"author": message.author, "text": message.text})
        return Room(message.room, len(said))

    @grpc_method
    def Get(self, name: str) -> Room:
        if name not in self.rooms:
            raise GrpcError(GrpcError.NOT_FOUND, f"There is no room {name!r}.")
        return Room(name, len(self.rooms[name]))

    @grpc_method
    async def Listen(self, room: Room, context: GrpcRequest) -> AsyncIterator[Message]:
        subscription = app.channel(room.name).subscribe()
        await context.send_initial_metadata({"x-room": room.name})  # now nothing is missed any more
        async for said in subscription:
            yield Message(room.name, said["author"], said["text"])

    @grpc_method
    async def Converse(self, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for message in messages:
            await asyncio.sleep(0)
            yield Message(message.room, "echo", message.text.upper())


app.add_grpc_service(Rooms())


@app.get("/")
def index():
    return {"services": list(app.grpc.services)}


if __name__ == "__main__":
    app.run()
