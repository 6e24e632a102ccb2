"""Where shared memory comes from: which host is told how, and what is said where nothing ties workers together."""

import logging
import os
import sys
import wsgiref.util
from types import SimpleNamespace

import pytest

from cello import App, ConfigError
from cello.shared import origin
from cello.shared.layouts import WordsLayout
from cello.shared.regions import Shared

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no other workers on Windows")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(origin.DIRECTORY, str(tmp_path))
    yield tmp_path
    origin._named_arena_of.cache_clear()


def test_one_process_has_plain_memory(monkeypatch):
    monkeypatch.delenv(origin.DIRECTORY, raising=False)
    found = origin.find("app")
    assert (found.how, found.warning) == ("memory of this process", None)


def test_a_folder_that_is_said_is_used_under_any_host(folder):
    found = origin.find("app")
    [path] = folder.iterdir()
    assert found.how == f"{path}, for all workers of this host (process {os.getppid()})"
    assert path.stat().st_mode & 0o777 == 0o600
    assert origin.find("another").how != found.how


def test_hosts_are_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", SimpleNamespace())
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/99")
    assert origin._foreign_host() == ("gunicorn", os.getppid())
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(masterpid=lambda: 77, numproc=2))
    assert origin._foreign_host() == ("uWSGI", 77)
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(masterpid=lambda: 0, numproc=1))
    assert origin._foreign_host() is None


def test_workers_that_cannot_be_tied_together_are_warned_of(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(masterpid=lambda: 0, numproc=3))
    with caplog.at_level(logging.WARNING, "cello"):
        Shared("app").region("a", WordsLayout(count=1)).open()
    assert "limits, caches and sessions are per worker: uWSGI runs several processes without a master" in caplog.text


def test_an_unknown_host_that_says_it_runs_several_processes_is_warned_of(caplog):
    app = App()
    app.enable_rate_limit("1/minute")
    app.get("/")(lambda: "hello")
    environ = {}
    wsgiref.util.setup_testing_defaults(environ)
    with caplog.at_level(logging.WARNING, "cello"):
        app.wsgi({**environ, "wsgi.multiprocess": True}, lambda status, headers: None)
        app.wsgi.close()
    assert "this host runs several processes and is not known; set CELLO_SHARED_DIR" in caplog.text


def test_check_says_what_keeps_workers_apart(monkeypatch, tmp_path):
    app = App()
    monkeypatch.setenv(origin.DIRECTORY, str(tmp_path / "nowhere"))
    assert app.shared_memory_trouble() is None
    app.enable_rate_limit("1/minute")
    app.get("/")(lambda: "hello")
    app.freeze()
    assert "nowhere cannot be written" in str(app.shared_memory_trouble())
    monkeypatch.setenv(origin.DIRECTORY, str(tmp_path))
    assert app.shared_memory_trouble() is None


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_file_that_others_may_read_is_not_used(folder, mode):
    origin.find("app")
    [path] = folder.iterdir()
    origin._named_arena_of.cache_clear()
    path.chmod(mode)
    assert "cannot share" in str(origin.find("app").warning)


def test_a_link_is_not_followed(folder):
    origin.find("app")
    [path] = folder.iterdir()
    origin._named_arena_of.cache_clear()
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")
    assert "cannot share" in str(origin.find("app").warning)


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv(origin.DIRECTORY, str(tmp_path / "nowhere"))
    assert "cannot share" in str(origin.find("app").warning)


def test_files_of_processes_that_are_gone_are_removed(folder):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    stale = folder / f"{origin.NAME}-{os.getuid()}-{pid}-0123456789abcdef"
    stale.touch()
    origin.find("app")
    assert not stale.exists()


def test_an_inherited_arena_is_known_by_its_parent_and_its_file(monkeypatch, arena_fd):
    origin.tell_children(arena_fd)
    told = os.environ[origin.VARIABLE]
    try:
        assert origin._inherited() == arena_fd
        monkeypatch.setattr(os, "getpid", lambda: 1)
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert origin._inherited() is None
    finally:
        del os.environ[origin.VARIABLE]
    assert told


@pytest.mark.parametrize("said", ["much", "1000", "-1"])
def test_a_size_that_cannot_be_is_refused(monkeypatch, said):
    monkeypatch.setenv(origin.SIZE, said)
    with pytest.raises(ConfigError, match=f"CELLO_SHARED_SIZE is a number of bytes, at least 1048576, not '{said}'"):
        origin.size_bytes()
