"""The example: one command serves it, another one talks to it."""

import asyncio
import subprocess
import sys

import pytest

from cello.grpc import GrpcChannel, GrpcError
from tests.serve.program import ROOT, Program, free_port

EXAMPLE = ROOT / "examples" / "grpc"


@pytest.fixture(params=["1", "2"])
def target(request, tmp_path):
    target = f"127.0.0.1:{free_port()}"
    words = (str(EXAMPLE / "app.py"), "--port", str(free_port()), "--workers", request.param, "--env", "production")
    with Program(*words, folder=tmp_path, environment={"GRPC_ADDRESS": target}) as program:
        program.listening()
        yield target


def test_the_client_has_its_conversation(target, tmp_path):
    words = (sys.executable, str(EXAMPLE / "client.py"), target)
    said = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert said.stdout.splitlines() == [
        "{'name': 'tea', 'messages': 1}",
        "NOT_FOUND There is no room 'coffee'.",
        "echo ONE",
        "echo TWO",
    ], said.stderr


async def test_what_is_said_is_heard(target):
    async with await GrpcChannel.connect(target, timeout=30) as listener, await GrpcChannel.connect(target) as speaker:
        heard = listener.stream("chat.v1.Rooms", "Listen", {"name": "tea"})
        first = asyncio.ensure_future(anext(heard))
        while not first.done():
            await speaker.call("chat.v1.Rooms", "Say", {"room": "tea", "author": "Ada", "text": "hello"})
            await asyncio.wait({first}, timeout=0.1)
        message = first.result()
        assert (message["author"], message["text"]) == ("Ada", "hello")
        await heard.aclose()
        with pytest.raises(GrpcError, match="Say something"):
            await speaker.call("chat.v1.Rooms", "Say", {"room": "tea", "author": "Ada", "text": " "})
