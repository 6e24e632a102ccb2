"""The examples of the App reference page, to be run as they stand: `app_page.md`, one section each."""

import re
from pathlib import Path
from typing import Any

from cello import App, Response

PAGE = Path(__file__).with_name("app_page.md")
SECTION = re.compile(r"^## ([^\n]+)\n\n```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
EXAMPLES = dict(SECTION.findall(PAGE.read_text("utf-8")))
"""Heading → code."""


def name_of(heading: str) -> str:
    """Return the name that the test of a section begins with: `test_app_get` for `@app.get(path, **options)`."""
    return "test_" + re.sub(r"\W+", "_", heading.partition("(")[0].strip("@")).lower()


def example(name: str) -> str:
    """Return the code of a section by its name up to the parenthesis: `app.get`."""
    (found,) = (code for heading, code in EXAMPLES.items() if heading.strip("@").partition("(")[0] == name)
    return found


def alternatives(name: str) -> list[str]:
    """Return the calls of a section that shows several, of which an application makes one."""
    return [part for part in re.split(r"\n\n", example(name)) if not part.startswith("from ")]


def run(code: str, app: App | None = None, changed: dict[str, str] | None = None, **names: Any) -> App:
    """Run an example; return the application it made, or was given.

    Args:
        code: As it stands on the page.
        app: What `app` is, where the example does not make it.
        changed: Hosts and credentials of the page → those at hand.
        names: What the page takes for granted.
    """
    for said, meant in (changed or {}).items():
        assert said in code
        code = code.replace(said, meant)
    namespace = {"app": app or App(), "Response": Response, "__name__": "page", **names}
    exec(compile(code, str(PAGE), "exec"), namespace)
    made = namespace["app"]
    assert isinstance(made, App)
    return made
