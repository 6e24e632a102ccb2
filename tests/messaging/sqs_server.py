"""An SQS for tests: moto's server, as a process of its own, below port 32768."""

import contextlib
import http.client
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from tests.database.servers import missing
from tests.serve.program import free_port

START_TIMEOUT_S = 60.0
REGION = "us-west-2"


class SqsServer:
    """An own process, with the same port when it is started again, but none of its queues.

    Attributes:
        url: Its endpoint.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            missing("moto is not installed: pip install 'moto[server,sqs]'")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._call("GET", "/moto-api/", "")
                return
            time.sleep(0.05)
        missing("moto's server does not answer")

    def create_queue(self, name: str, **attributes: str) -> str:
        """Make a queue and return its URL; `attributes` are those of SQS' CreateQueue."""
        asked = {"Action": "CreateQueue", "QueueName": name}
        for number, (attribute, value) in enumerate(attributes.items(), 1):
            asked |= {f"Attribute.{number}.Name": attribute, f"Attribute.{number}.Value": value}
        answer = self._call("POST", "/", urlencode(asked))
        return answer.partition("<QueueUrl>")[2].partition("</QueueUrl>")[0].replace("localhost", "127.0.0.1")

    def arn(self, queue_url: str) -> str:
        """Return a queue's name in the attributes of another one."""
        _, account, name = urlsplit(queue_url).path.split("/")
        return f"arn:aws:sqs:{REGION}:{account}:{name}"

    def redrive(self, dead_url: str, most: int) -> dict[str, str]:
        """Return the attributes of a queue whose messages go to another one when received more than `most` times."""
        policy = {"deadLetterTargetArn": self.arn(dead_url), "maxReceiveCount": most}
        return {"RedrivePolicy": json.dumps(policy)}

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _call(self, method: str, path: str, body: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        scope = f"Credential=test/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded", "Authorization": f"AWS4-HMAC-SHA256 {scope}",
        }  # fmt: skip
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(f"moto answers {answer.status}: {text[:500]}")
        return text


@contextlib.contextmanager
def running_sqs() -> Iterator[SqsServer]:
    """Start a server for tests."""
    pytest.importorskip("aiobotocore")
    server = SqsServer()
    try:
        server.start()
        yield server
    finally:
        server.kill()
