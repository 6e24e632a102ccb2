"""socketify (C++, µWebSockets through cffi)."""

import asyncio

from shared_routes import PORT, TEXT, filler_paths, greeting
from socketify import App, AppListenOptions, OpCode

app = App()


def home(res, req):
    res.write_header("Content-Type", "text/plain; charset=utf-8").end(TEXT)


def json_greeting(res, req):
    res.end(greeting())


def user(res, req):
    res.end({"id": req.get_parameter(0)})


async def echo(res, req):
    data = await res.get_json()
    res.cork_end(data)


async def async_greeting(res, req):
    res.cork_end(greeting())


async def suspended_greeting(res, req):
    await asyncio.sleep(0)
    res.cork_end(greeting())


def other(res, req):
    res.end({"ok": True})


app.get("/", home)
app.get("/json", json_greeting)
app.get("/users/:id", user)
app.post("/echo", echo)
app.get("/async", async_greeting)
app.get("/suspend", suspended_greeting)
app.ws("/ws", {"message": lambda ws, message, opcode: ws.send(message, OpCode.TEXT)})
for path in filler_paths(":id"):
    app.get(path, other)

if __name__ == "__main__":
    app.listen(AppListenOptions(port=PORT, host="127.0.0.1"))
    app.run()
