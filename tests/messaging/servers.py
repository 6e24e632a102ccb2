"""A RabbitMQ server: one that answers already, or one started as a subprocess in a folder of its own."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.database.servers import Server, answers, command, running
from tests.integration.hosts import free_port

USUAL = "amqp://guest:guest@127.0.0.1:5672"


class RabbitMQ(Server):
    """RabbitMQ, with everything of its own: folder, node name, cookie, ports, and its Erlang port mapper."""

    def __init__(self) -> None:
        super().__init__()
        self.mapper_port = free_port()
        self.distribution_port = free_port()

    def prepare(self) -> None:
        self.as_ordinary_user("rabbitmq")
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text("log.console = true\nlog.console.level = error\n")
        for path in self.folder.iterdir():
            if self.user is not None:
                shutil.chown(path, self.user)

    @property
    def node(self) -> str:
        return f"test{self.port}@localhost"

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.folder)
        return os.environ | {
            "HOME": home,
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-setcookie {self.cookie} +S 1:1",
            "RABBITMQ_SERVER_START_ARGS": "",
        }

    @property
    def cookie(self) -> str:
        place = self.folder / "cookie"
        if not place.exists():
            place.write_text(secrets.token_hex(8))
        return place.read_text()

    def command_line(self) -> list[str]:
        # Debian's wrapper in /usr/sbin insists on its own user; the script behind it does not.
        script = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        assignments = [f"{name}={value}" for name, value in self.environment.items() if os.environ.get(name) != value]
        return ["env", *assignments, script if Path(script).exists() else command("rabbitmq-server")]

    def is_ready(self) -> bool:
        return answers("127.0.0.1", self.port)

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            subprocess.run(
                ["epmd", "-port", str(self.mapper_port), "-kill"], capture_output=True, timeout=30, check=False
            )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"


@contextlib.contextmanager
def rabbitmq_server() -> Iterator[str]:
    """Yield the URL of a server that answers: that of the environment, the usual one, or one started for it."""
    named = os.environ.get("CELLO_TEST_RABBITMQ")
    if named:
        yield named
    elif answers("127.0.0.1", 5672):
        yield USUAL
    else:
        with running(RabbitMQ()) as server:
            yield server.url  # type: ignore[attr-defined]  # a RabbitMQ has one
