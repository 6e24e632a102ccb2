"""The navigation: which page stands where.

The order of the guide is written down here; a page that is not is added at the end, under "More", so that a new page
needs no change here and none is ever lost.
"""

import re
from collections.abc import Iterator
from pathlib import Path

Entry = dict[str, "str | list[Entry]"]

CONTENTS = "<!-- pages -->"

GUIDE = {
    "Requests": ("validation", "dependencies", "middleware", "guards", "templates", "static-files", "uploads"),
    "Live": ("websocket", "server-sent-events", "channels", "periodic-work"),
    "Security": (
        *("sessions", "csrf", "jwt", "basic-auth", "api-keys", "cors", "security-headers"),
        *("trusted-hosts", "trusted-proxies", "limits-and-timeouts"),
    ),
    "Under load": ("rate-limit", "caching", "circuit-breaker", "compression", "shared-state", "tuning"),
    "Data": ("database", "migrations", "redis"),
    "APIs": ("openapi", "graphql", "grpc"),
    "Messages and events": (
        *("messaging", "kafka", "rabbitmq", "sqs", "outbox"),
        *("event-sourcing", "projections", "cqrs", "sagas", "saga"),
    ),
    "Watching": ("logging", "request-id", "health-checks", "prometheus", "metrics", "telemetry", "inspector"),
    "Running": ("deployment", "check"),
}
SECTIONS = (
    ("Tutorial", "tutorial"),
    ("How-to", "howto"),
    ("Examples", "examples"),
    ("Reference", "reference"),
    ("Internals", "internals"),
)
ORDER = {
    "examples": ("hello", "demo", "rest_api", "chat", "upload", "graphql", "grpc", "orders"),
    "howto": (
        *("testing", "from-flask", "from-fastapi", "from-django", "from-cello-framework", "piece-by-piece"),
        *("gunicorn-uwsgi-uvicorn", "containers", "observability", "security-checklist"),
        *("feature-plugin", "profiling"),
    ),
    "reference": (
        *("app", "requests", "responses", "parameters", "websockets", "errors", "guards", "settings", "command"),
        *(
            "testing",
            "database",
            "graphql",
            "grpc",
            "messaging",
            "eventsourcing",
            "cqrs",
            "saga",
            "extension",
            "review",
        ),
    ),
    "internals": ("architecture", "lanes", "pipeline", "wire", "parity", "benchmarks", "speedups", "security"),
}


def tree(pages: Path) -> list[Entry]:
    """Return the navigation over all pages of a folder, as `mkdocs.yml` has it."""
    guide: list[Entry] = [{"Overview": "guide/index.md"}] if (pages / "guide/index.md").exists() else []
    left = names(pages / "guide")
    for title, listed in GUIDE.items():
        here = [name for name in listed if name in left]
        left = [name for name in left if name not in here]
        if here:
            guide.append({title: [entry(pages, f"guide/{name}.md") for name in here]})
    if left:
        guide.append({"More": [entry(pages, f"guide/{name}.md") for name in left]})

    sections = [section(pages, title, folder) for title, folder in SECTIONS]
    tutorial, *rest = [found for found in sections if found is not None]
    tops = [entry(pages, f"{name}.md") for name in order(names(pages), ("performance", "comparison"))]
    return [{"Home": "index.md"}, tutorial, {"Guide": guide}, *rest, *tops]


def section(pages: Path, title: str, folder: str) -> Entry | None:
    """Return the entry of a folder of pages, its index first."""
    index: list[Entry] = [{"Overview": f"{folder}/index.md"}] if (pages / folder / "index.md").exists() else []
    found = order(names(pages / folder), ORDER.get(folder, ()))
    if not found:
        return {title: f"{folder}/index.md"} if index else None
    return {title: index + [entry(pages, f"{folder}/{name}.md") for name in found]}


def names(folder: Path) -> list[str]:
    """Return the names of the pages of a folder, without its index."""
    return sorted(path.stem for path in folder.glob("*.md") if path.stem != "index")


def order(found: list[str], listed: tuple[str, ...]) -> list[str]:
    """Return names in the order of a list, and after them those it does not know."""
    return [name for name in listed if name in found] + [name for name in found if name not in listed]


def entry(pages: Path, page: str) -> Entry:
    """Return the entry of a page: its heading without code marks."""
    heading = re.search(r"^# (.+)$", (pages / page).read_text("utf-8"), flags=re.MULTILINE)
    return {heading[1].replace("`", "") if heading else Path(page).stem: page}


def fill_contents(pages: Path) -> None:
    """Put lists of pages where `<!-- pages -->` stands in the first page of a folder."""
    for index in pages.rglob("index.md"):
        text = index.read_text("utf-8")
        if CONTENTS in text:
            folder = index.parent.relative_to(pages).as_posix()
            listed = next(
                value for top in tree(pages) for value in top.values() if _begins(value, f"{folder}/index.md")
            )
            index.write_text(text.replace(CONTENTS, "\n".join(_listed(pages, listed[1:]))), "utf-8")


def _begins(value: "str | list[Entry]", page: str) -> bool:
    return isinstance(value, list) and page in value[0].values()


def _listed(pages: Path, entries: "str | list[Entry]") -> Iterator[str]:
    """Give a list of pages, each with its first sentence; groups have headings."""
    assert isinstance(entries, list)
    for found in entries:
        for title, value in found.items():
            if isinstance(value, str):
                yield f"- [{title}]({Path(value).name}) – {first_sentence((pages / value).read_text('utf-8'))}"
            else:
                yield from ("", f"## {title}", "", *_listed(pages, value))


def first_sentence(text: str) -> str:
    """Return the sentence that a page begins with, without links."""
    paragraph = next((part for part in text.split("\n\n")[1:] if re.match(r"[\w`*\[\"“]", part)), "")
    sentence = re.split(r"(?<=[.:?!])\s", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", paragraph.replace("\n", " ")))[0]
    return sentence.rstrip(":.") + "."
