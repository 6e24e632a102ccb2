"""Behind a real nginx: keep-alive upstream, who the client is, unix sockets, uploads, WebSocket, SSE, a graceful roll.

The configuration is that of docs/guide/deployment.md, with the paths and ports of the test.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from cello.testing.session import Session
from tests.integration.hosts import TcpTransport
from tests.missing import missing
from tests.serve.load import Load, reach
from tests.serve.program import PATIENCE_S, ROOT, Program, free_port, get, until

APP = """
import hashlib, json, os
from cello import App, LimitsConfig, SseEvent, Response
app = App()
app.set_trusted_proxies(["127.0.0.1", "unix"])
app.set_limits(LimitsConfig(max_body_size=200_000_000))

@app.get("/")
def index(request):
    return {"client": request.client_ip, "scheme": request.scheme, "host": request.host, "pid": os.getpid()}

@app.post("/upload", stream=True)
async def upload(request):
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}

@app.get("/events")
async def events():
    async def tell():
        for number in range(3):
            yield SseEvent(str(number))
    return Response.sse(tell())

@app.websocket("/ws")
async def talk(ws):
    async for message in ws:
        await ws.send_text(f"heard {message.text}")
"""

CONF = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    client_max_body_size 200m;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream app {{ server {upstream}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host $host;
            proxy_request_buffering off;
            proxy_read_timeout 75s;
        }}
    }}
}}
"""


@pytest.fixture(scope="module", params=["tcp", "unix"])
def site(request, tmp_path_factory):
    """A server of two workers and an nginx in front: the program and nginx's port."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        missing("nginx (Debian package nginx-light) is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "app.py").write_text(APP)
    with contextlib.ExitStack() as stack:
        if request.param == "tcp":
            own = free_port()
            words, upstream = ["--port", str(own)], f"127.0.0.1:{own}"
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c"))) / "s"
            words, upstream = ["--uds", str(path)], f"unix:{path}"
        command = ["-m", "cello", "run", *words, "--workers", "2", "--no-logs"]
        program = stack.enter_context(Program(*command, folder=folder))
        program.listening()
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""  # it must be allowed to open the unix socket
        (folder / "nginx.conf").write_text(CONF.format(user=user, folder=folder, upstream=upstream, port=port))
        front = subprocess.Popen(
            [nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)],
            start_new_session=True,
        )
        try:
            until(lambda: is_up(port, front))
            yield program, port
            log = (folder / "error.log").read_text()
            assert not re.search(r"\[(error|crit|alert|emerg)\]", log), log
        finally:
            os.killpg(front.pid, signal.SIGTERM)
            front.wait(PATIENCE_S)


def is_up(port, process):
    assert process.poll() is None, "nginx did not start"
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def test_the_guide_shows_the_configuration_that_is_tested():
    page = (ROOT / "docs/guide/deployment.md").read_text("utf-8")
    shown = re.findall(r"^ +(proxy_.*;|keepalive .*;)$|^(map .*)$", page.partition("```nginx")[2], re.MULTILINE)
    tested = CONF.replace("{{", "{").replace("}}", "}").replace("http://app;", "http://shop;")
    assert len(shown) > 8
    assert [line for pair in shown for line in pair if line not in tested] == []


def test_the_client_is_the_one_that_nginx_names(site):
    _, port = site
    status, body = get(f"http://127.0.0.1:{port}")
    told = json.loads(body)
    del told["pid"]
    assert (status, told) == (200, {"client": "127.0.0.1", "scheme": "https", "host": "127.0.0.1"})


def test_a_client_cannot_claim_another_address(site):
    _, port = site
    own = ("127.0.0.2", 0)  # not that of a trusted proxy
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=own) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n")
        told = json.loads(client.makefile("rb").read().rpartition(b"\r\n\r\n")[2])
    assert told["client"] == "127.0.0.2"


def test_connections_to_the_application_are_kept_open(site):
    program, port = site
    for _ in range(10):
        assert get(f"http://127.0.0.1:{port}")[0] == 200  # each on a connection of its own to nginx

    def are_held():
        program.signal(signal.SIGUSR1)
        # One at a time: a worker that is still starting does not answer.
        return int(program.wait_for(r"worker \d \(process \d+\): \d+ requests, (\d+) connections")) >= 1

    until(are_held)


@pytest.mark.parametrize("size", [0, 1, 100_000, 50_000_000])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_uploads_arrive_whole(site, size, framing):
    _, port = site
    body = os.urandom(1000) * (size // 1000) if size > 1000 else b"x" * size
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        how = f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked"
        client.sendall(f"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{how}\r\n\r\n".encode())
        for at in range(0, len(body), 100_000):
            piece = body[at : at + 100_000]
            client.sendall(piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
        if framing == "chunks":
            client.sendall(b"0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert b" 200 OK" in answer.partition(b"\r\n")[0]
    found = re.search(rb"\{.*\}", answer)
    assert json.loads(found[0]) == {"size": len(body), "digest": hashlib.sha256(body).hexdigest()}


def test_events_pass_as_they_are_told(site):
    _, port = site
    status, body = get(f"http://127.0.0.1:{port}", "/events")
    assert status == 200
    assert re.findall(r"data: (\d)", body) == ["0", "1", "2"]


def test_a_websocket_passes(site):
    _, port = site

    async def talk():
        async with asyncio.timeout(PATIENCE_S):
            ws = await Session(TcpTransport(port), f"http://127.0.0.1:{port}", None, None).connect("/ws", ())
            for word in ("one", "two"):
                await ws.send(word)
                assert (await ws.recv(PATIENCE_S)).content == f"heard {word}"
            await ws.close()

    asyncio.run(talk())


@pytest.mark.asyncio
async def test_a_roll_is_not_noticed(site):
    program, port = site
    async with Load(port, clients=8) as tally:
        for _ in range(2):
            await reach(tally, 200)
            program.signal(signal.SIGHUP)
            await asyncio.to_thread(program.wait_for, "the new code is serving")
        await reach(tally, 200)
    assert tally.lost == []
    assert tally.refused == []
