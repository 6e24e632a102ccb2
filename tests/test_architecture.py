"""The layers of docs/internals/architecture.md, held by reading every import: typing imports and cimports too."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cello"

# A room is a folder or a lone module of cello/. It imports rooms of lower layers, and its own files without circles.
LAYERS = {
    "_speedups": 0,
    "_version": 0,
    "config": 0,
    "errors": 0,
    "familiar": 0,
    "review": 0,
    "spans": 0,
    "http": 1,
    "routing": 2,
    "shared": 2,
    "wire": 2,
    "pipeline": 3,
    "extension": 4,
    "gateways": 4,
    "guards": 4,
    "serve": 5,
    "database": 6,
    "messaging": 6,
    "pages": 6,
    "cqrs": 7,
    "eventsourcing": 7,
    "features": 7,
    "graphql": 7,
    "grpc": 7,
    "saga": 7,
    "enable": 8,
    "hosting": 8,
    "testing": 8,
    "testing_plugin": 9,
    "__init__": 9,
    "__main__": 9,
    "app": 9,
    "cli": 9,
}

# Rooms of one layer do not know each other, but for these.
SIBLINGS = {
    ("enable", "hosting"),
    ("cqrs", "eventsourcing"),
    ("_version", "errors"),
    ("config", "errors"),
    ("familiar", "errors"),
    ("__init__", "app"),
    ("__main__", "cli"),
    ("cli", "app"),
}

# A compiled module stands where its pure twin stands. The switch itself is below everything.
TWINS = {
    "_speedups.bucket": "features",
    "_speedups.frames": "wire",
    "_speedups.head": "wire",
    "_speedups.lane": "gateways",
    "_speedups.paths": "routing",
    "_speedups.raw": "gateways",
    "_speedups.recorder": "features",
    "_speedups.request": "http",
    "_speedups.runner": "pipeline",
    "_speedups.slots": "shared",
    "_speedups.table": "shared",
    "_speedups.track": "gateways",
    "_speedups.transport": "gateways",
    "_speedups.tree": "routing",
}

# What `import cello` must not load: the extras, and what is needed only once switched on.
OPTIONAL_PACKAGES = {
    *("aio_pika", "aioboto3", "aiobotocore", "aiokafka", "aiomysql", "aiosqlite", "argon2", "asyncpg", "backports"),
    *("brotli",),
    *("google", "granian", "graphql", "grpc", "gunicorn", "h11", "httptools", "httpx2", "isal", "itsdangerous"),
    *("jinja2", "joserfc", "msgspec", "multipart", "opentelemetry", "prometheus_client", "pydantic", "pymysql"),
    *("pytest", "redis", "sqlalchemy", "strawberry", "uvicorn", "uvloop", "watchfiles", "wsproto", "yaml", "zstandard"),
}

# What it must not load of the standard library: what is slow to import and needed by what serves, or by few.
SLOW_MODULES = {
    *("argparse", "asyncio", "concurrent", "ctypes", "decimal", "difflib", "email", "hashlib", "hmac", "html"),
    *("json", "mimetypes", "multiprocessing", "pathlib", "platform", "queue", "random", "secrets", "shutil", "signal"),
    *("socket", "sqlite3", "ssl", "subprocess", "tempfile", "unittest", "uuid", "xml", "zoneinfo"),
}


class Import(NamedTuple):
    """One import of a cello module by another; `line` is where it stands."""

    source: str
    line: int
    target: str


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
COMPILED_SOURCES = sorted(path for suffix in ("*.pyx", "*.pxd") for path in PACKAGE.rglob(suffix))


def resolve(name: str, attribute: str | None = None) -> str:
    """Return the module within cello that `from name import attribute` reads, "" for the package itself."""
    if attribute is not None and (longer := f"{name}.{attribute}".partition(".")[2]) in SOURCES | dict.fromkeys(TWINS):
        return longer
    return name.partition(".")[2] or "__init__"


def imports_in_python(module: str, path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}:{node.lineno}: relative imports hide what is imported")
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cello":
            for alias in node.names:
                yield Import(module, node.lineno, resolve(node.module or "", alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "cello":
                    yield Import(module, node.lineno, resolve(alias.name))


CIMPORT = re.compile(r"^\s*from\s+(cello[\w.]*)\s+c?import\s+([^#]+)|^\s*c?import\s+(cello[\w.]*)")


def imports_in_cython(module: str, path: Path) -> Iterator[Import]:
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if found := CIMPORT.match(text):
            package, names, whole = found.groups()
            for name in (names or "").replace("(", " ").replace(")", " ").replace(",", " ").split() or [None]:
                yield Import(module, line, resolve(package or whole, name))


def room_of(module: str) -> str:
    """Return the room whose rules a module obeys."""
    return TWINS.get(module) or module.partition(".")[0]


def all_imports() -> list[Import]:
    found = [hit for module, path in SOURCES.items() for hit in imports_in_python(module, path)]
    for path in COMPILED_SOURCES:
        found += imports_in_cython(module_name(path), path)
    return found


IMPORTS = all_imports()


def broken_rule(hit: Import) -> str | None:
    """Return what is wrong with an import, or None."""
    source, target = room_of(hit.source), room_of(hit.target)
    if source == target or (source, target) in SIBLINGS:
        return None
    above, below = LAYERS[source], LAYERS[target]
    if below < above:
        return None
    fault = "which is above it" if below > above else "which stands on the same layer"
    return f"{hit.source} (line {hit.line}, layer {above}) imports {hit.target}, {fault} ({below})"


def test_every_room_of_the_package_has_its_place_in_the_layers() -> None:
    rooms = {room_of(module) for module in [*SOURCES, *map(module_name, COMPILED_SOURCES)]}
    assert rooms <= LAYERS.keys()


def test_every_file_imports_lower_layers_or_its_own_folder_only() -> None:
    assert [fault for hit in IMPORTS if (fault := broken_rule(hit))] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A compiled twin is one module with its source, which rebinds itself to the twin on its last line.
    graph: dict[str, set[str]] = {}
    for hit in IMPORTS:
        if hit.source != hit.target and hit.target not in TWINS:
            graph.setdefault(hit.source, set()).add(hit.target)
    assert find_circle(graph) is None


def find_circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return the modules of one circle, or None; depth first, each module once."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str] | None:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return None
        for target in sorted(graph.get(module, ())):
            if circle := visit(target, [*way, module]):
                return circle
        done.add(module)
        return None

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), None)


RULES = {
    "upwards": (Import("http.request", 1, "routing.tree"), True),
    "sideways": (Import("wire.h1", 1, "routing.tree"), True),
    "downwards": (Import("routing.tree", 1, "http.request"), False),
    "within a folder": (Import("wire.h1_h11", 1, "wire.h1"), False),
    "an allowed sibling": (Import("cqrs", 1, "eventsourcing"), False),
    "the same sibling backwards": (Import("eventsourcing", 1, "cqrs"), True),
    "a compiled module as its twin, downwards": (Import("wire.h1_compiled", 1, "_speedups.head"), False),
    "a compiled module as its twin, sideways": (Import("routing.router", 1, "_speedups.head"), True),
    "the switch from anywhere": (Import("http.request", 1, "_speedups"), False),
}


@pytest.mark.parametrize(("hit", "broken"), RULES.values(), ids=RULES.keys())
def test_the_rules_themselves_tell_good_imports_from_bad(hit: Import, broken: bool) -> None:
    assert (broken_rule(hit) is not None) is broken


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_cimports_are_read_as_imports(tmp_path: Path) -> None:
    source = tmp_path / "lane.pyx"
    source.write_text("from cello._speedups.head cimport scan_head, Scan\nfrom cello.errors import ProtocolError\n")
    assert {hit.target for hit in imports_in_cython("_speedups.lane", source)} == {"_speedups.head", "errors"}


@pytest.mark.parametrize("module", ["cello", "cello.cli"])
def test_importing_cello_loads_no_optional_package(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}; print(*(sys.modules.keys() - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    packages = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert packages & OPTIONAL_PACKAGES == set()


def test_importing_cello_loads_nothing_of_the_standard_library_that_only_serving_needs() -> None:
    code = "import sys; before = set(sys.modules); import cello; cello.App(); print(*(sys.modules.keys() - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert {name.partition(".")[0] for name in loaded.stdout.split()} & SLOW_MODULES == set()


@pytest.mark.parametrize(
    "room", ["cello.serve", "cello.features", "cello.database", "cello.messaging", "cello.gateways.native"]
)
def test_importing_cello_loads_no_server_and_no_feature(room: str) -> None:
    code = "import sys; import cello; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert [name for name in loaded.stdout.split() if name == room or name.startswith(f"{room}.")] == []


# The three libraries that the core depends on, and the rooms that may know each.
HOMES = {"h11": {"wire", "testing"}, "wsproto": {"wire", "testing"}, "multipart": {"http"}}


def libraries_in_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


def test_each_library_of_the_core_is_imported_in_its_own_rooms_only() -> None:
    assert [
        f"{module} imports {library}"
        for module, path in SOURCES.items()
        for library in libraries_in_python(path)
        if room_of(module) not in HOMES.get(library, {room_of(module)})
    ] == []


def test_only_the_own_server_sees_the_wire() -> None:
    own = ("gateways.native", "_speedups.lane", "_speedups.track")
    users = {hit.source for hit in IMPORTS if room_of(hit.target) == "wire" and room_of(hit.source) != "wire"}
    assert {user for user in users if not user.startswith(own)} == set()
