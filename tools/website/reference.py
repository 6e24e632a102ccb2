"""The reference: one page for each group of public names, and what they say of themselves.

The names are those of `__all__`. A name that no page lists stands on the page of further names: none is missing.
"""

import argparse
import importlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cello import cli

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cello"

CORE = {
    "app": ("App", ("App", "Blueprint", "Middleware", "cache")),
    "requests": ("Requests", ("Request", "FormData", "UploadedFile", "csrf_token")),
    "responses": ("Responses", ("Response", "ProblemDetails", "BackgroundTasks", "SseEvent", "SseStream")),
    "websockets": (
        "WebSockets and channels",
        ("WebSocket", "WebSocketMessage", "ChannelError", "SlowSubscriber", "SubscriptionEnded"),
    ),
    "parameters": ("Parameters", ("Depends", "Path", "Query", "Header", "Cookie", "Body", "Form", "File")),
    "errors": (
        "Errors",
        (
            *("CelloError", "ConfigError", "MissingDependency", "RouteError", "ProtocolError", "HTTPError"),
            *("BadRequest", "Unauthorized", "Forbidden", "NotFound", "MethodNotAllowed", "ContentTooLarge"),
            *("UnsupportedMediaType", "UnprocessableContent", "TooManyRequests", "ServiceUnavailable"),
            "ClientDisconnected",
        ),
    ),
}
"""Name of a page → its title, and which names of `cello` it explains."""

SETTINGS = re.compile(r"Config$|^CSP$")
"""Names of `cello` that have a page of their own together."""

PLUGINS = "cello.extension"
"""What feature plug-ins are written against; it has no `__all__`, and nearly all of it is public."""

WORDS = {"grpc": "gRPC", "graphql": "GraphQL", "cqrs": "CQRS", "eventsourcing": "event sourcing"}


def toolkits() -> list[str]:
    """Return the modules beside `cello` itself that users import from: those just below it that have `__all__`."""
    found = []
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py")]):
        if path == PACKAGE / "__init__.py" or not re.search(r"^__all__\b", path.read_text("utf-8"), re.MULTILINE):
            continue
        found.append(f"cello.{path.stem if path.parent == PACKAGE else path.parent.name}")
    return found


def public(module: str) -> list[str]:
    """Return the public names of a module that need explaining."""
    return [name for name in importlib.import_module(module).__all__ if not name.startswith("__")]


def core_pages() -> dict[str, tuple[str, list[str]]]:
    """Return every page about `cello` itself: title and names; no name twice, none left out."""
    guards = set(public("cello.guards"))  # they have a page of their own
    left = [name for name in public("cello") if name not in guards]
    pages = {}
    for page, (title, listed) in CORE.items():
        pages[page] = (title, [name for name in listed if name in left])
        left = [name for name in left if name not in listed]
    pages["settings"] = ("Settings", [name for name in left if SETTINGS.search(name)])
    left = [name for name in left if not SETTINGS.search(name)]
    if left:
        pages["further"] = ("Further names", left)
    return pages


def pages() -> set[str]:
    """Return the names of all pages of the reference."""
    return {*core_pages(), *(module.removeprefix("cello.") for module in [*toolkits(), PLUGINS]), "command", "index"}


def write(folder: Path) -> None:
    """Write the Markdown of the reference."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = []
    for page, (title, names) in core_pages().items():
        (folder / f"{page}.md").write_text(_page(title, "", [f"cello.{name}" for name in names]), "utf-8")
        contents.append((page, title, "cello", names))
    for module in [*toolkits(), PLUGINS]:
        short = module.removeprefix("cello.")
        title = "Feature plug-ins" if module == PLUGINS else WORDS.get(short, short).replace("_", " ")
        title = title[0].upper() + title[1:] if title.islower() else title
        names = declared(module) if module == PLUGINS else public(module)
        opening = f"`from {module} import …`"
        (folder / f"{short}.md").write_text(_page(title, opening, [f"{module}.{name}" for name in names]), "utf-8")
        contents.append((short, title, module, names))
    (folder / "command.md").write_text("\n".join(_command()), "utf-8")
    (folder / "index.md").write_text("\n".join(_index(contents)), "utf-8")


def declared(module: str) -> list[str]:
    """Return the public classes and functions that a module declares itself."""
    loaded = importlib.import_module(module)
    return [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module and hasattr(value, "__name__")
    ]


def _page(title: str, opening: str, paths: list[str]) -> str:
    return "\n\n".join([f"# {title}", *([opening] if opening else []), *(f"::: {path}" for path in paths)]) + "\n"


def _index(contents: list[tuple[str, str, str, list[str]]]) -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Every public name, from its own docstring. [The command line](command.md) has a page too."
    yield ""
    yield "| page | import from | names |"
    yield "|---|---|---|"
    for page, title, module, names in contents:
        linked = " ".join(f"[`{name}`]({page}.md#{module}.{name})" for name in names)
        yield f"| [{title}]({page}.md) | `{module}` | {linked} |"
    yield ""


def _command() -> Iterator[str]:
    parser = cli.make_parser()
    yield "# The command"
    yield ""
    yield from ("What `cello COMMAND --help` says, for reading at leisure.", "")
    yield from ("```text", _help(parser), "```", "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from (f"## cello {name}", "", "```text", _help(command), "```", "")


def _help(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)  # type: ignore[assignment]
    return parser.format_help().rstrip()


def write_sources(folder: Path) -> None:
    """Copy the package as its pure source: compiled twins have no text to read signatures and docstrings from."""
    shutil.copytree(PACKAGE, folder / "cello", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for path in (folder / "cello").rglob("*.py"):
        text = path.read_text("utf-8")
        pure = re.sub(r"^if _speedups\.enabled:\n(?:[ \t]+.*\n|\n)+", "", text, flags=re.MULTILINE)
        if pure != text:
            path.write_text(pure, "utf-8")
