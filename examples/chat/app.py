"""A chat: rooms over WebSocket, and a page to talk in.

    cello run examples/chat/app.py --workers 2

Open the address that is printed in two tabs. Whoever is in a room hears everybody in it, whichever worker they are
connected to; with `CHAT_REDIS=redis://…` also on other machines. Nothing is kept: who comes later has missed it.
"""

import os
import time
from pathlib import Path

from cello import App, BadRequest, Response, WebSocket

PAGE = Path(__file__).with_name("chat.html")
NAME_LENGTH, TEXT_LENGTH = 30, 2000

app = App()
if redis := os.environ.get("CHAT_REDIS"):
    app.enable_channels(redis)


@app.get("/")
def page():
    return Response.html(PAGE.read_text(encoding="utf-8"))


def name_of(request):
    """Return who wants to talk."""
    name = request.query.get("name", "").strip()
    if not 0 < len(name) <= NAME_LENGTH:
        raise BadRequest(f"a name has 1 to {NAME_LENGTH} characters")
    return name


@app.websocket("/rooms/{room}")
async def talk(ws: WebSocket, request, room: str):
    name = name_of(request)
    channel = app.channel(f"chat/{room}")

    async def say(kind, text=""):
        await channel.publish({"kind": kind, "from": name, "text": text, "at": int(time.time() * 1000)})

    async with channel.join(ws, slow="drop"):
        await say("joined")
        try:
            async for message in ws:
                text = (message.text or "").strip()[:TEXT_LENGTH]
                if text:
                    await say("said", text)
        finally:
            await say("left")


if __name__ == "__main__":
    app.run()
