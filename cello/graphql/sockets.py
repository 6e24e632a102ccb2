"""Operations over a WebSocket: the protocol graphql-transport-ws, one connection for many operations.

ConnectionInit → ConnectionAck      once, within `INIT_TIMEOUT_S`; 4400, 4401, 4403, 4408, 4429 close otherwise
Subscribe → Next* → Complete|Error  any number at once, each with an id of its own; 4409 for an id that is in use
Complete →                          ends one: its generator is closed
Ping ↔ Pong                         both ways
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from cello.errors import ClientDisconnected
from cello.graphql.engine import GraphQL, Refused, Result
from cello.http import json_codec
from cello.http.request import Request
from cello.http.websocket import WebSocket

PROTOCOL = "graphql-transport-ws"
INIT_TIMEOUT_S = 10
MOST_OPERATIONS = 100

MakeContext = Callable[[Request, Mapping[str, Any]], Any]
OnConnect = Callable[[Any, Request], Any]


class Violation(Exception):
    """The client broke the protocol; the connection is closed with a code that says how."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Conversation:
    """One connection.

    Args:
        ws: It.
        engine: Executes.
        make_context: Makes what resolvers find in `info.context`.
        on_connect: Asked with the payload of ConnectionInit: False refuses, a mapping is added to the context.
    """

    def __init__(self, ws: WebSocket, engine: GraphQL, make_context: MakeContext, on_connect: OnConnect | None) -> None:
        self._ws = ws
        self._engine = engine
        self._make_context = make_context
        self._on_connect = on_connect
        self._context: Any = None
        self._is_acknowledged = False
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Talk until either side has had enough."""
        if self._ws.subprotocol != PROTOCOL:
            await self._ws.close(4406, f"speak {PROTOCOL}")
            return
        try:
            while True:
                try:
                    message = await self._ws.recv(None if self._is_acknowledged else INIT_TIMEOUT_S)
                except TimeoutError:
                    raise Violation(4408, "Connection initialisation timeout") from None
                if message is None:
                    return
                await self._take(_parsed(message.text))
        except Violation as violation:
            await self._ws.close(violation.code, violation.reason)
        except ClientDisconnected:
            return
        finally:
            await self._end_all()

    async def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "connection_init":
            await self._initialise(message.get("payload"))
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "subscribe":
            self._subscribe(message)
        elif kind == "complete":
            task = self._running.pop(str(message.get("id")), None)
            if task is not None:
                task.cancel()
        elif kind != "pong":
            raise Violation(4400, "Invalid message")

    async def _initialise(self, payload: Any) -> None:
        if self._is_acknowledged:
            raise Violation(4429, "Too many initialisation requests")
        added: Any = None
        if self._on_connect is not None:
            try:
                added = self._on_connect(payload, self._ws.request)
                if inspect.isawaitable(added):
                    added = await added
            except Exception:  # noqa: BLE001  # a guard that raises refuses, whatever it raises
                raise Violation(4403, "Forbidden") from None
            if added is False:
                raise Violation(4403, "Forbidden")
        self._context = self._make_context(self._ws.request, added if isinstance(added, Mapping) else {})
        self._is_acknowledged = True
        await self._send({"type": "connection_ack"})

    def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._is_acknowledged:
            raise Violation(4401, "Unauthorized")
        name, payload = message.get("id"), message.get("payload")
        if not (name and isinstance(name, str) and isinstance(payload, dict) and isinstance(payload.get("query"), str)):
            raise Violation(4400, "Invalid message")
        if name in self._running:
            raise Violation(4409, f"Subscriber for {name[:60]} already exists")
        if len(self._running) >= MOST_OPERATIONS:
            raise Violation(4429, f"More than {MOST_OPERATIONS} operations at once")
        self._running[name] = asyncio.create_task(self._operate(name, payload))

    async def _operate(self, name: str, payload: dict[str, Any]) -> None:
        try:
            variables = payload.get("variables")
            variables = variables if isinstance(variables, dict) else {}
            try:
                document, operation = self._engine.prepare(payload["query"], variables, payload.get("operationName"))
            except Refused as refused:
                await self._send({"id": name, "type": "error", "payload": refused.result()["errors"]})
                return
            if operation.operation.value == "subscription":
                async for result in self._engine.subscribe(document, operation, variables, self._context):
                    if "data" not in result:
                        await self._send({"id": name, "type": "error", "payload": result["errors"]})
                        return
                    await self._next(name, result)
            else:
                await self._next(name, await self._engine.run(document, operation, variables, self._context))
            self._running.pop(name, None)
            await self._send({"id": name, "type": "complete"})
        except ClientDisconnected:
            return
        finally:
            self._running.pop(name, None)

    async def _next(self, name: str, result: Result) -> None:
        await self._send({"id": name, "type": "next", "payload": result})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._ws.send_text(json_codec.encode(message).decode())

    async def _end_all(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        message = json_codec.decode((text or "").encode())
    except ValueError:
        raise Violation(4400, "Invalid message") from None
    if not isinstance(message, dict):
        raise Violation(4400, "Invalid message")
    return message
