"""Answer one request per gateway with the cello that is installed; arguments: what its speedups must be, on or off."""

import sys

import cello
from cello import App, _speedups
from cello.testing import TestClient

expected = {"on": True, "off": False}[sys.argv[1]]
assert _speedups.enabled is expected, f"speedups are {_speedups.enabled}: {_speedups.reason}"

app = App()


@app.get("/users/{id:int}")
def user(id: int) -> dict[str, int]:
    return {"id": id}


@app.post("/echo")
async def echo(request: cello.Request) -> bytes:
    return request.body()


for gateway in ("wsgi", "asgi", "native"):
    with TestClient(app, gateway) as client:
        assert client.get("/users/7").json() == {"id": 7}, gateway
        assert client.post("/echo", content=b"abc").content == b"abc", gateway
        assert client.get("/nowhere").status_code == 404, gateway

print(f"cello {cello.__version__} on Python {sys.version.split()[0]}, speedups {sys.argv[1]}, from {cello.__path__[0]}")
