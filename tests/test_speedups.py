"""The switch: what CELLO_SPEEDUPS decides, and that it decides for all modules or none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cello import _speedups
from cello._speedups import LEAF, MODULES, decide


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file for every compiled module, none of which is ever loaded."""
    for name in MODULES:
        (tmp_path / f"{name}.py").touch()
    return tmp_path


def load_nothing(name: str) -> None:
    """Stands for an import that succeeds."""


def fail_to_load(name: str) -> None:
    raise ImportError("undefined symbol: PyOddity")


def test_a_complete_set_is_enabled(folder: Path) -> None:
    assert decide("auto", folders=[str(folder)], load=load_nothing) == (True, "all compiled modules are in use")
    assert decide("1", folders=[str(folder)], load=load_nothing)[0]


def test_only_the_leaf_is_loaded(folder: Path) -> None:
    loaded: list[str] = []
    decide("auto", folders=[str(folder)], load=loaded.append)
    assert loaded == [f"cello._speedups.{LEAF}"]


def test_mode_0_is_off_even_with_a_complete_set(folder: Path) -> None:
    assert decide("0", folders=[str(folder)], load=load_nothing) == (False, "switched off by CELLO_SPEEDUPS=0")


@pytest.mark.parametrize("name", MODULES)
def test_auto_uses_none_when_one_is_missing(folder: Path, name: str) -> None:
    (folder / f"{name}.py").unlink()
    assert decide("auto", folders=[str(folder)], load=load_nothing) == (False, f"not built: {name}")


@pytest.mark.parametrize("name", MODULES)
def test_mode_1_says_which_module_is_missing_and_what_to_do(folder: Path, name: str) -> None:
    (folder / f"{name}.py").unlink()
    with pytest.raises(ImportError, match=f"requires cello._speedups.{name}, which is not built.*compiler") as caught:
        decide("1", folders=[str(folder)], load=load_nothing)
    assert caught.value.name == f"cello._speedups.{name}"


def test_auto_uses_none_when_the_leaf_does_not_load_and_says_why(folder: Path) -> None:
    assert decide("auto", folders=[str(folder)], load=fail_to_load) == (
        False,
        "head does not load: undefined symbol: PyOddity",
    )


def test_mode_1_says_why_the_leaf_does_not_load(folder: Path) -> None:
    with pytest.raises(ImportError, match=r"cello\._speedups\.head, which does not load: undefined symbol: PyOddity"):
        decide("1", folders=[str(folder)], load=fail_to_load)


@pytest.mark.parametrize("mode", ["yes", "2", "AUTO", " 1"])
def test_any_other_mode_is_refused(mode: str) -> None:
    with pytest.raises(ImportError, match="CELLO_SPEEDUPS must be auto, 0 or 1"):
        decide(mode)


def test_what_this_process_decided_is_consistent() -> None:
    assert (_speedups.enabled, _speedups.reason) == decide(_speedups.mode)


def run_with(mode: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CELLO_SPEEDUPS": mode}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_environment_variable_switches_a_process_off() -> None:
    code = "from cello import _speedups; from cello.routing.tree import Tree, PureTree; assert Tree is PureTree"
    assert run_with("0", f"{code}; assert not _speedups.enabled").returncode == 0


def test_an_empty_environment_variable_means_auto() -> None:
    assert run_with("", "from cello import _speedups; assert _speedups.mode == 'auto'").returncode == 0


def test_a_wrong_environment_variable_stops_the_import_with_its_value() -> None:
    done = run_with("on", "import cello._speedups")
    assert done.returncode == 1
    assert "CELLO_SPEEDUPS must be auto, 0 or 1, not 'on'" in done.stderr
