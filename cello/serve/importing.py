"""From "module:app" to the App.

A target is a module with an attribute (`shop.web:app`), a file (`shop/web.py`, `shop/web.py:app`), or nothing: then
`app.py` or `main.py` of the current folder. An attribute that ends in `()` is called to make the App.

Errors of the module itself are not caught: their traceback is what its author needs.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cello.errors import ConfigError
from cello.serve.served import Served, importing

AUTODETECTED = ("app.py", "main.py")
_FAVOURITES = ("app", "application")


class TargetError(ConfigError):
    """The target names nothing that can be served; the message says what to write instead."""


def load_app(target: str | None = None) -> Any:
    """Return the App that `target` names.

    The current folder comes first on the module path, as under `python -m`.

    Raises:
        TargetError: No such module, file or attribute, several Apps to choose from, or not an App.
        Exception: Whatever the module itself raises.
    """
    if target is None:
        target = _autodetect()
    name, _, attribute = _split(target)
    cwd = str(Path.cwd())
    if cwd not in sys.path:
        sys.path.insert(0, cwd)
    with importing():
        module = _load_file(Path(name)) if _is_file(name) else _load_module(name)
        return _pick(module, attribute, name)


def _split(target: str) -> tuple[str, str, str]:
    """Split at the last colon, unless it belongs to a Windows drive."""
    name, colon, attribute = target.rpartition(":")
    if not colon or (os.name == "nt" and len(name) == 1):
        return target, "", ""
    if not name or not attribute:
        raise TargetError(f"{target!r} is not of the form module:app, such as shop.web:app or shop/web.py:app")
    return name, colon, attribute


def _autodetect() -> str:
    for name in AUTODETECTED:
        if Path(name).is_file():
            return name
    raise TargetError(
        f"no application named, and {Path.cwd()} has no {' or '.join(AUTODETECTED)}; "
        "say which one: cello run module:app"
    )


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name or "/" in name


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{name!r} is not a module name; use dots, as in an import: shop.web:app")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise  # the module is there; something that it imports is not
        hint = f"; there is a file {name}.py: run cello in its folder" if Path(f"{name}.py").is_file() else ""
        raise TargetError(f"no module named {missing!r} in {Path.cwd()} or among the installed ones{hint}") from None


def _load_file(path: Path) -> ModuleType:
    """Load a file under the name it would have as an import, so that its own relative imports work."""
    if path.is_dir():
        raise TargetError(f"{str(path)!r} is a folder; name the file: {path / 'app.py'}")
    if not path.is_file():
        raise TargetError(f"no file {str(path)!r} (from {Path.cwd()})")
    path = path.resolve()
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    # Not by import_module: a file called random.py is meant, not the standard library's, which others still need.
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    name = path.stem if loaded is None else f"{path.stem}_py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _pick(module: ModuleType, attribute: str, name: str) -> Any:
    if not attribute:
        return _only_app(module, name)
    is_factory = attribute.endswith("()")
    found: Any = module
    for part in attribute.removesuffix("()").split("."):
        if not hasattr(found, part):
            apps = ", ".join(_apps(module)) or "none"
            raise TargetError(f"{name!r} has no {part!r}; Apps in it: {apps}")
        found = getattr(found, part)
    if is_factory:
        found = found()
    if _is_app(found):
        return found
    if not is_factory and callable(found) and not isinstance(found, type) and hasattr(found, "__code__"):
        raise TargetError(f"{name}:{attribute} is a function; to call it for the App write '{name}:{attribute}()'")
    raise TargetError(f"{name}:{attribute} is not a cello App but {_a(type(found))}")


def _only_app(module: ModuleType, name: str) -> Any:
    apps = _apps(module)
    for favourite in _FAVOURITES:
        if favourite in apps:
            return apps[favourite]
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if apps:
        raise TargetError(f"{name!r} has several Apps: {', '.join(apps)}; choose one: {name}:{next(iter(apps))}")
    for favourite in _FAVOURITES:
        if hasattr(module, favourite):
            raise TargetError(f"{name}:{favourite} is not a cello App but {_a(type(getattr(module, favourite)))}")
    raise TargetError(f"{name!r} has no App; it should contain: app = App()")


def _apps(module: ModuleType) -> dict[str, Served]:
    return {key: value for key, value in vars(module).items() if _is_app(value)}


def _is_app(value: object) -> bool:
    return isinstance(value, Served) and not isinstance(value, type)  # a class may have the same attributes


def _a(cls: type) -> str:
    where = "" if cls.__module__ == "builtins" else f" ({cls.__module__})"
    return f"{'an' if cls.__name__[0].lower() in 'aeiou' else 'a'} {cls.__name__}{where}"
