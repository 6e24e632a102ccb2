"""Database and Redis servers: one that answers already, or one started as a subprocess in a folder of its own.

Servers that a test stops and starts again are always its own. Where one cannot be had the test is skipped, saying why;
under CELLO_TEST_SERVICES=1 that is a failure.
"""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.hosts import free_port
from tests.missing import missing

START_TIMEOUT_S = 60.0
# Where distributions put what is not on the PATH: Debian's servers of PostgreSQL, beside whatever is on it.
_LIBRARIES = [Path(each).parent / "lib/postgresql" for each in (*os.environ["PATH"].split(os.pathsep), "/usr/bin")]
FOLDERS = ("/usr/sbin", *(str(each) for place in _LIBRARIES for each in sorted(place.glob("*/bin"), reverse=True)))


def command(*names: str) -> str:
    """Return the path of the first of these commands that is installed."""
    for name in names:
        found = shutil.which(name) or next(
            (f"{at}/{name}" for at in FOLDERS if os.access(f"{at}/{name}", os.X_OK)), None
        )
        if found:
            return found
    missing(f"{' or '.join(names)} is not installed")
    raise AssertionError


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def parent_of(pid: int) -> int | None:
    """Return who started a process; None when it has ended. Linux only."""
    with contextlib.suppress(OSError):
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return None if state in "ZX" else int(parent)
    return None


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended; Linux only."""
    return [found for each in Path("/proc").glob("[0-9]*") if parent_of(found := int(each.name)) == pid]


class Server:
    """A server process of the tests' own, on a port that stays the same when it is started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cello-server-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.user: str | None = None

    def as_ordinary_user(self, *candidates: str) -> None:
        """Have the server run as somebody else than root, which some refuse."""
        if os.getuid() != 0:
            return
        for name in (*candidates, "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                self.user = name
                os.chown(self.folder, entry.pw_uid, entry.pw_gid)
                return
        missing("there is no user but root to run the server as")

    def argv(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line that runs as the server's user."""
        if self.user is None:
            return list(arguments)
        groups = f"--regid={pwd.getpwnam(self.user).pw_gid}"
        return [command("setpriv"), f"--reuid={self.user}", groups, "--clear-groups", *arguments]

    def run(self, *arguments: str, **options: object) -> None:
        """Run a command to its end."""
        done = subprocess.run(self.argv(arguments), capture_output=True, timeout=120, check=False, cwd=self.folder)
        if done.returncode:
            missing(f"{arguments[0]} failed: {done.stderr.decode(errors='replace')[-500:]}")

    def prepare(self) -> None:
        """Make what the server needs before its first start."""

    def command_line(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.argv(self.command_line()), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text("utf-8", "replace")[-800:]
                missing(f"{self.command_line()[0]} did not start: {said}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return answers("127.0.0.1", self.port)

    def kill(self) -> None:
        """End it at once, without any orderly shutdown."""
        if self.process is not None:
            offspring = children(self.process.pid)  # PostgreSQL's are in groups of their own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            for pid in offspring:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None
            while any(parent_of(pid) is not None for pid in offspring):
                time.sleep(0.01)  # orphans, which nobody here can wait for

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """PostgreSQL; password "secret", with TLS where a certificate was put in."""

    options: tuple[str, ...] = ()

    def prepare(self) -> None:
        self.as_ordinary_user("postgres")
        self.run(
            command("initdb"), "-D", str(self.folder / "data"), "-U", "tester", "-A", "trust", "-N", "--no-instructions"
        )

    def command_line(self) -> list[str]:
        place = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        return [command("postgres"), *place, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", *self.options]

    def is_ready(self) -> bool:
        pg_isready = command("pg_isready")
        asked = [pg_isready, "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", "-d", "postgres"]
        return subprocess.run(asked, check=False, timeout=10).returncode == 0

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"


class Mariadb(Server):
    """MariaDB or MySQL; user root without a password."""

    options: tuple[str, ...] = ()

    def prepare(self) -> None:
        self.as_ordinary_user("mysql")
        who = f"--user={self.user or getpass.getuser()}"
        self.run(
            command("mariadb-install-db", "mysql_install_db"), "--no-defaults", who, f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal", "--skip-test-db",
        )  # fmt: skip

    def command_line(self) -> list[str]:
        return [
            command("mariadbd", "mysqld"), "--no-defaults", f"--datadir={self.folder}/data", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self.folder}/my.sock", f"--pid-file={self.folder}/my.pid",
            *self.options,
        ]  # fmt: skip

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/mysql"


class RedisServer(Server):
    """Redis, with further options."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    def command_line(self) -> list[str]:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        return [command("redis-server"), *place, *self.options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server for a test."""
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def redis_cluster() -> Iterator[list[RedisServer]]:
    """Start a cluster of three nodes."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no")
    nodes = [RedisServer(*options) for _ in range(3)]
    try:
        for node in nodes:
            while node.port + 10_000 > 65_535:
                node.port = free_port()
            bus = free_port()
            node.options = (*options, "--cluster-port", str(bus))
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        create = [command("redis-cli"), "--cluster", "create", *addresses, "--cluster-replicas", "0", "--cluster-yes"]
        made = subprocess.run(create, capture_output=True, timeout=60, check=False, text=True)
        if made.returncode:
            missing(f"the cluster could not be made: {made.stdout[-300:]}{made.stderr[-300:]}")
        deadline = time.monotonic() + 30
        while any("cluster_state:ok" not in cluster_info(node) for node in nodes):
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.05)
        yield nodes
    finally:
        for node in nodes:
            node.close()


def cluster_info(node: RedisServer) -> str:
    """Return what a node of a cluster says about it."""
    asked = [command("redis-cli"), "-p", str(node.port), "cluster", "info"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout


RUNNING = {
    "postgresql": ("CELLO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test", 5432, Postgres),
    "mysql": ("CELLO_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test", 3306, Mariadb),
    "redis": ("CELLO_TEST_REDIS", "redis://127.0.0.1:6379", 6379, RedisServer),
}


@contextlib.contextmanager
def reachable(kind: str) -> Iterator[str]:
    """Yield the URL of a server that answers: that of the environment, the usual one, or one started for it."""
    variable, usual, port, own = RUNNING[kind]
    if os.environ.get(variable):
        yield os.environ[variable]
    elif answers("127.0.0.1", port):
        yield usual
    else:
        with running(own()) as server:
            yield server.url
