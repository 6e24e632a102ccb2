"""The build and its switch: what setup.py makes of a working, a missing and a failing compiler, and of no Cython.

Each build runs in a copy of the source tree, with the interpreter and the setuptools at hand.
"""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cello import _speedups

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = ("cello", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("build"),
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="there is no source tree around these tests"),
]

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is packaged, without anything built."""
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def build(tree: Path) -> Build:
    """Run setup.py in the copy; environment variables by keyword."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("CELLO_SPEEDUPS", "CC")}
        return subprocess.run(
            [sys.executable, "setup.py", *arguments],
            cwd=tree,
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return run


def compiled_modules(folder: Path) -> set[str]:
    return {path.name.removesuffix(SUFFIX) for path in (folder / "cello" / "_speedups").glob(f"*{SUFFIX}")}


def leave_a_stale_module(folder: Path) -> None:
    (folder / "cello" / "_speedups" / f"head{SUFFIX}").write_bytes(b"of an earlier build")


@pytest.fixture
def broken(request: pytest.FixtureRequest, tree: Path) -> dict[str, str]:
    """The environment variables that break a build in one of three ways."""
    if request.param == "no Cython":
        hidden = tree / "hidden" / "Cython"
        hidden.mkdir(parents=True)
        (hidden / "__init__.py").write_text("raise ImportError('Cython is hidden by the test')\n")
        return {"PYTHONPATH": str(hidden.parent)}
    return {"CC": {"no compiler": "/nonexistent/cc", "a failing compiler": "false"}[request.param]}


ways_to_break = pytest.mark.parametrize("broken", ["no compiler", "a failing compiler", "no Cython"], indirect=True)


@ways_to_break
def test_auto_builds_a_pure_package_when_it_cannot_compile(build: Build, tree: Path, broken: dict[str, str]) -> None:
    leave_a_stale_module(tree)
    done = build("build_ext", "--inplace", CELLO_SPEEDUPS="auto", **broken)
    assert done.returncode == 0, done.stderr
    assert "installing without compiled modules" in done.stderr
    assert compiled_modules(tree) == set()


@ways_to_break
def test_1_fails_and_says_so_when_it_cannot_compile(build: Build, broken: dict[str, str]) -> None:
    done = build("build_ext", "--inplace", CELLO_SPEEDUPS="1", **broken)
    assert done.returncode != 0
    assert "CELLO_SPEEDUPS=1, but the compiled modules cannot be built:" in done.stderr


def test_0_compiles_nothing(build: Build, tree: Path) -> None:
    done = build("build_ext", "--inplace", CELLO_SPEEDUPS="0")
    assert done.returncode == 0, done.stderr
    assert compiled_modules(tree) == set()


def test_any_other_word_stops_the_build(build: Build) -> None:
    done = build("build_ext", CELLO_SPEEDUPS="maybe")
    assert done.returncode != 0
    assert "CELLO_SPEEDUPS must be auto, 0 or 1, not 'maybe'" in done.stderr


def sources() -> dict[str, str]:
    """Return what setup.py compiles, without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "SOURCES":
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py names no SOURCES")


def test_the_build_and_the_switch_name_the_same_modules() -> None:
    assert {name.rpartition(".")[2] for name in sources()} == set(_speedups.MODULES)


def types_of(name: str) -> str:
    return f"{name.replace('.', '/')}.pxd"


@pytest.mark.parametrize(("name", "source"), sources().items(), ids=sources().keys())
def test_every_compiled_module_has_its_source_and_a_shared_source_its_types(name: str, source: str) -> None:
    assert (ROOT / source).exists()
    assert source.endswith(".pyx") or (ROOT / types_of(name)).exists()


@pytest.mark.parametrize(("name", "source"), sources().items(), ids=sources().keys())
def test_a_compiled_module_in_use_is_as_new_as_its_sources(name: str, source: str) -> None:
    if not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    folder = Path(_speedups.__file__).parent
    if folder != ROOT / "cello" / "_speedups":
        pytest.skip("the compiled modules are installed, not built in this source tree")
    newest = max(path.stat().st_mtime for path in [ROOT / source, *folder.glob("*.pxd")])
    module = folder / f"{name.rpartition('.')[2]}{SUFFIX}"
    assert module.stat().st_mtime >= newest, "the module is stale: run `make build`"


def has_compiler() -> bool:
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(command.split()[0]) is not None


def test_wheels_are_named_after_what_is_in_them(build: Build, tree: Path) -> None:
    pure = build("-q", "bdist_wheel", CC="/nonexistent/cc")
    assert pure.returncode == 0, pure.stderr
    [wheel] = (tree / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "Root-Is-Purelib: true" in metadata(wheel)
    assert suffixes_in(wheel) & {".so", ".pyd", ".pyx", ".c", ".h"} == set()


@pytest.mark.skipif(not has_compiler(), reason="there is no C compiler on this machine")
def test_a_compiled_build_holds_every_module_and_loses_all_when_one_fails(build: Build, tree: Path) -> None:
    done = build("-q", "bdist_wheel", CELLO_SPEEDUPS="1")
    assert done.returncode == 0, done.stderr
    [wheel] = (tree / "dist").glob("*.whl")
    assert sys.implementation.cache_tag.replace("cpython-", "cp") in wheel.name
    assert suffixes_in(wheel) & {".pyx", ".c", ".h"} == set()
    unpacked = tree / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    assert compiled_modules(unpacked) == set(_speedups.MODULES)
    check = "from cello import _speedups; assert _speedups.enabled; import cello; print(cello.__path__)"
    told = subprocess.run(
        [sys.executable, "-c", check],
        cwd=unpacked,
        env={**os.environ, "CELLO_SPEEDUPS": "1", "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert str(unpacked) in told.stdout

    # Only one source is edited, and the compiler is gone: the modules that are still current must go too.
    (tree / "cello" / "_speedups" / "tree.pxd").touch()
    again = build("-q", "bdist_wheel", CC="/nonexistent/cc")
    assert again.returncode == 0, again.stderr
    [pure] = (tree / "dist").glob("*-py3-none-any.whl")
    assert ".so" not in suffixes_in(pure)


def test_the_source_archive_holds_what_a_build_and_a_test_run_need(build: Build, tree: Path) -> None:
    done = build("-q", "sdist", CC="/nonexistent/cc")
    assert done.returncode == 0, done.stderr
    [archive] = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    types = {types_of(name) for name, source in sources().items() if source.endswith(".py")}
    assert {"setup.py", "pyproject.toml", "cello/py.typed", *sources().values(), *types} <= names
    assert not any(name.endswith((".so", ".pyd", ".c", ".pyc")) for name in names)


def suffixes_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {Path(name).suffix for name in archive.namelist()}


def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        return archive.read(name).decode()
