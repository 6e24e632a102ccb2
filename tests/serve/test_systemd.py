"""What systemd hears and gives, spoken to over its own kind of socket."""

import os
import signal
import socket
import sys
import tempfile

import pytest

from cello.errors import ConfigError
from cello.serve.options import resolve
from cello.serve.systemd import Notifier, with_activated_sockets
from tests.serve.program import PATIENCE_S, Program, free_port, get

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd runs on Linux")

APP = "import os\nfrom cello import App\napp = App()\n@app.get('/')\ndef index(): return os.getpid()\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def systemd():
    """The socket that systemd listens on, and its address."""
    with tempfile.TemporaryDirectory(prefix="c") as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.bind(f"{short}/n")
        yield sock, f"{short}/n"


def heard(sock, wanted):
    """Read messages until one has the wanted line; return all lines."""
    lines = []
    while wanted not in lines:
        lines += sock.recv(4096).decode().split("\n")
    return lines


@pytest.mark.parametrize("workers", [1, 2])
def test_the_life_of_a_service_is_told(folder, systemd, workers):
    sock, address = systemd
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    words = ["-m", "cello", "run", "--port", str(free_port()), "--workers", str(workers), "--no-logs"]
    with Program(*words, folder=folder, environment=environment) as program:
        url = program.listening()
        assert f"MAINPID={program.process.pid}" in heard(sock, "READY=1")
        heard(sock, "WATCHDOG=1")
        if workers > 1:
            program.signal(signal.SIGHUP)
            lines = heard(sock, "RELOADING=1")
            assert any(line.startswith("MONOTONIC_USEC=") for line in [*lines, *heard(sock, "READY=1")])
        assert get(url)[0] == 200
        program.signal(signal.SIGTERM)
        heard(sock, "STOPPING=1")
        assert program.wait() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_sockets_opened_by_systemd_are_served_all_of_them(folder, workers):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        os.set_inheritable(one.fileno(), True)
        os.set_inheritable(two.fileno(), True)
        # systemd hands descriptors over from 3 on, and names the process that is to have them.
        script = (
            f"import os, sys; os.dup2({one.fileno()}, 103); os.dup2({two.fileno()}, 104); "
            "os.dup2(103, 3); os.dup2(104, 4); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2'); "
            "os.execv(sys.executable, [sys.executable, '-m', 'cello', 'run', '--no-logs', "
            f"'--workers', '{workers}'])"
        )
        with Program("-c", script, folder=folder, close_fds=False) as program:
            program.listening()
            for sock in (one, two):
                assert get(f"http://127.0.0.1:{sock.getsockname()[1]}")[0] == 200
            program.signal(signal.SIGTERM)
            assert program.wait() == 0


def test_sockets_meant_for_another_process_are_left_alone():
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert with_activated_sockets(resolve({}), environment).fds == ()
    assert environment == {}


def test_an_address_that_somebody_named_goes_before_systemd_and_this_is_said():
    found = with_activated_sockets(resolve({"port": 1}), {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
    assert found.fds == ()
    assert found.notices == (
        "1 sockets were opened by systemd, but app.run(port=…) names another address: they are not used",
    )


def test_a_number_of_sockets_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="LISTEN_FDS must be the number of inherited sockets, not 'x'"):
        with_activated_sockets(resolve({}), {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"})


def test_without_systemd_nothing_is_said_and_nothing_fails(systemd):
    for environment in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all"}):
        notifier = Notifier(environment)
        assert environment == {}
        notifier.ready("x")
        notifier.alive()
        notifier.close()
        notifier.stopping()


def test_a_watchdog_of_another_process_is_not_fed(systemd):
    _, address = systemd
    for pid, every_s in (({"WATCHDOG_PID": "1"}, None), ({}, 0.5)):
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", **pid})
        assert notifier.every_s == every_s
        notifier.close()


def test_an_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.bind(f"\0cello-{os.getpid()}")
        notifier = Notifier({"NOTIFY_SOCKET": f"@cello-{os.getpid()}"})
        notifier.stopping()
        assert sock.recv(100) == b"STOPPING=1"
        notifier.close()
