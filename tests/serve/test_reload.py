"""Seeing that a source file changed."""

import os
import select

import pytest

from cello.serve.reload import Watcher, snapshot


@pytest.fixture(params=["by the system", "by polling"])
def watcher(request, tmp_path, monkeypatch):
    if request.param == "by the system":
        pytest.importorskip("watchfiles")
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "gone.py", "notes.txt"):
        (tmp_path / name).write_text("1")
    watcher = Watcher(poll=request.param == "by polling")
    yield watcher
    watcher.close()


def changes(watcher, wanted):
    """Return what was reported until `wanted` is among it."""
    seen = set()
    while wanted not in seen:
        ready, _, _ = select.select([watcher], [], [], 20)
        assert ready, f"nothing was reported; before: {seen}"
        seen.update(watcher.take())
    return seen


def test_a_changed_a_new_and_a_removed_file_are_reported(watcher, tmp_path):
    (tmp_path / "a.py").write_text("22")
    os.utime(tmp_path / "a.py", ns=(1, 10**18))
    assert "a.py" in changes(watcher, "a.py")
    (tmp_path / "new.py").write_text("1")
    assert "new.py" in changes(watcher, "new.py")
    (tmp_path / "gone.py").unlink()
    assert "gone.py" in changes(watcher, "gone.py")


def test_other_files_are_not_reported(watcher, tmp_path):
    (tmp_path / "notes.txt").write_text("2")
    (tmp_path / "b.py").write_text("1")
    assert changes(watcher, "b.py") == {"b.py"}


def test_nothing_changed_means_nothing_taken(watcher):
    assert watcher.take() == []


def test_folders_of_tools_are_not_looked_into(tmp_path):
    for name in ("src/a.py", ".git/b.py", "node_modules/c.py", "src/__pycache__/d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert [os.path.basename(path) for path in snapshot([tmp_path])] == ["a.py"]


def test_a_folder_that_does_not_exist_is_said(tmp_path, capsys):
    Watcher([str(tmp_path / "nope")], poll=True).close()
    assert "nope' is not a folder" in capsys.readouterr().err
