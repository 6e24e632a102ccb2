"""Where a server listens."""

import os
import socket
import stat
import tempfile

import pytest

from cello.serve import sockets
from cello.serve.options import resolve
from cello.serve.sockets import AddressError, bind, bind_slots


@pytest.fixture
def opened():
    """A list whose sockets are closed afterwards."""
    found = []
    yield found
    sockets.close(found)


@pytest.fixture
def short_folder():
    """A folder with a short name: unix socket paths may have some hundred bytes only."""
    with tempfile.TemporaryDirectory(prefix="c") as folder:
        yield folder


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def reach(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.connect(address)


def test_any_free_port_is_found(opened):
    opened += bind(resolve({"port": 0}))
    port = opened[0].getsockname()[1]
    assert sockets.urls(opened, encrypted=False) == [f"http://127.0.0.1:{port}"]
    assert sockets.urls(opened, encrypted=True) == [f"https://127.0.0.1:{port}"]
    sockets.listen(opened)
    reach(("127.0.0.1", port))


def test_a_port_in_use_is_one_clear_line(opened):
    opened += sockets.listen(bind(resolve({"port": 0})))
    port = opened[0].getsockname()[1]
    words = f"127.0.0.1:{port} is in use by another program; stop it or choose another --port"
    for make in (bind, bind_slots):
        with pytest.raises(AddressError, match=words):
            make(resolve({"port": port, "workers": 2}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"host": "no.such.host.invalid"}, "'no.such.host.invalid' is not an address", id="unknown name"),
        pytest.param({"host": "192.0.2.1"}, "192.0.2.1:8000 is not an address of this machine", id="not ours"),
        pytest.param({"host": "a" * 300}, "is not an address of this machine", id="no name at all"),
        pytest.param({"uds": "/nonexistent/folder/s"}, "cannot listen on unix:/nonexistent", id="no folder"),
        pytest.param({"fd": 1000}, r"descriptor 1000 \(--fd\) is not an open socket", id="closed descriptor"),
        pytest.param({"fd": 0}, r"descriptor 0 \(--fd\) is not an open socket", id="not a socket"),
    ],
)
def test_an_impossible_address_is_explained(given, words):
    with pytest.raises(AddressError, match=words):
        bind(resolve(given))


@needs_ipv6
def test_ipv6_is_spoken_alone_or_with_ipv4(opened):
    opened += bind(resolve({"host": "::1", "port": 0}))
    assert sockets.describe(opened[0]).startswith("[::1]:")
    dual = sockets.listen(bind(resolve({"host": "::", "port": 0})))
    opened += dual
    port = dual[0].getsockname()[1]
    reach(("127.0.0.1", port))
    reach(("::1", port), socket.AF_INET6)


def test_localhost_is_every_address_it_has_under_one_port(opened):
    opened += bind(resolve({"host": "localhost", "port": 0}))
    assert len({sock.getsockname()[1] for sock in opened}) == 1


def test_every_slot_has_its_own_listener_on_the_same_port(opened):
    slots = bind_slots(resolve({"port": 0, "workers": 3}))
    opened += [sock for slot in slots for sock in slot]
    assert len({sock.fileno() for sock in opened}) == 3
    assert len({sock.getsockname() for sock in opened}) == 1


def test_a_unix_socket_is_shared_by_all_slots_and_its_file_removed(short_folder):
    path = f"{short_folder}/s"
    options = resolve({"uds": path, "workers": 2})
    slots = bind_slots(options)
    assert slots[0] is slots[1]
    reach(path, socket.AF_UNIX)
    assert sockets.urls(slots[0], encrypted=True) == [f"unix:{path}"]
    sockets.remove_file(options, slots[0])
    assert not os.path.exists(path)
    sockets.close(slots[0])


def test_the_file_of_a_socket_that_is_closed_already_is_left_to_others(short_folder):
    options = resolve({"uds": f"{short_folder}/s"})
    listeners = bind(options)
    sockets.close(listeners)
    sockets.remove_file(options, listeners)
    assert os.path.exists(f"{short_folder}/s")


def test_the_file_of_a_dead_server_is_replaced_and_of_a_living_one_respected(short_folder, opened):
    path = f"{short_folder}/s"
    dead = bind(resolve({"uds": path}))[0]
    dead.close()
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    opened += sockets.listen(bind(resolve({"uds": path})))
    with pytest.raises(AddressError, match=f"unix:{path} is in use by another server"):
        bind(resolve({"uds": path}))


def test_another_kind_of_file_is_never_replaced(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(AddressError, match="exists and is not a socket"):
        bind(resolve({"uds": str(tmp_path / "s")}))
    assert (tmp_path / "s").read_text() == "precious"


def test_an_inherited_descriptor_is_used(opened):
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        opened += bind(resolve({"fd": given.fileno()}))
        assert opened[0].getsockname() == given.getsockname()
    sockets.listen(opened)
    reach(opened[0].getsockname())


def test_a_datagram_descriptor_is_refused():
    with (
        socket.socket(type=socket.SOCK_DGRAM) as given,
        pytest.raises(AddressError, match="is not a stream socket"),
    ):
        bind(resolve({"fd": given.fileno()}))
