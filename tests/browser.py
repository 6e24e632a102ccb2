"""A headless Chromium, driven by the DevTools protocol over two pipes: no library, no port, no driver."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing

PATIENCE_S = 40
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync"),
    *("--no-first-run", "--no-default-browser-check", "--metrics-recording-only", "--mute-audio"),
)

# The browser reads commands from descriptor 3 and answers on descriptor 4.
LAUNCH = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


SCREENSHOTS = Path(__file__).resolve().parents[1] / "build" / "screenshots"
SIZES = {"desktop": (1280, 900, False), "phone": (390, 844, True)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """A browser for the tests of one module; import it there."""
    command = executable()
    if command is None:
        missing("there is no Chromium to look at pages with")
    running = Browser(command, tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


def executable() -> str | None:
    """Return the path of a Chromium, or None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One browser process.

    Args:
        command: The path of a Chromium.
        folder: Where its profile goes.
    """

    def __init__(self, command: str, folder: Path) -> None:
        (theirs, self._out), (self._in, answers) = os.pipe(), os.pipe()
        words = [command, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._log = (folder / "chromium.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs), str(answers), *words],
            pass_fds=(theirs, answers),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        os.close(theirs)
        os.close(answers)
        self._received = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the browser and wait for it."""
        with contextlib.suppress(BrokenPipeError, AssertionError):
            self.command("Browser.close")
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            for descriptor in (self._out, self._in):
                os.close(descriptor)
            self._log.close()

    def command(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is added to `events`."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """Return the parameters of the next event of a kind."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            event = self._receive(deadline)
            self.events.append(event)
            if event.get("method") == method and event.get("sessionId") == session:
                params: dict[str, Any] = event["params"]
                return params

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._received += data
        first, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    @contextlib.contextmanager
    def page(self, width: int, height: int, *, is_phone: bool = False) -> Iterator["Page"]:
        """Open a page of its own, with cookies of its own."""
        context = self.command("Target.createBrowserContext")["browserContextId"]
        target = self.command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if is_phone else 1,
            mobile=is_phone,
        )
        try:
            yield page
        finally:
            self.command("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """One page, and everything that it complained of."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        # What a policy forbids is an event in the page, before and beside any message about it.
        watch = (
            "window.violations = [];"
            "addEventListener('securitypolicyviolation',"
            "  e => violations.push(`${e.violatedDirective} ${e.blockedURI}`))"
        )
        self.command("Page.addScriptToEvaluateOnNewDocument", source=watch)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this page."""
        return self._browser.command(method, self._session, **params)

    def open(self, url: str) -> None:
        """Go to a URL and wait until it has loaded."""
        self.command("Page.navigate", url=url)
        self._browser.wait_for("Page.loadEventFired", self._session)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, a promise's when it is settled."""
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> Any:
        """Return the value of a JavaScript expression as soon as it is true; looked at whenever the page changes."""
        return self.evaluate(
            "new Promise((resolve, reject) => {"
            "  const look = () => {"
            f"   const found = ({condition});"
            "    if (found) { observer.disconnect(); resolve(found instanceof Node || found) }"
            "  };"
            "  const observer = new MutationObserver(look);"
            "  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });"
            f"  const say = () => reject(new Error({json.dumps(f'never came true: {condition}')}));"
            f"  setTimeout(say, {PATIENCE_S * 500});"
            "  look();"
            "})"
        )

    def click(self, selector: str) -> None:
        """Click on an element as soon as it is there."""
        self.until(f"document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Write into a field the way React notices."""
        self.evaluate(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)});"
            "  const { set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value');"
            f"  set.call(field, {json.dumps(text)});"
            "  field.dispatchEvent(new Event('input', { bubbles: true })) })()"
        )

    def screenshot(self, name: str) -> None:
        """Write what is to be seen to a PNG in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))

    def check(self, site: str) -> None:
        """Check that the page was content, kept to its own site, and fits the screen."""
        assert self.complaints == []
        assert [url for url in self.requested if not url.startswith((f"{site}/", "data:", "blob:"))] == []
        assert self.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of console, scripts and network, and violations of the policy."""
        found = [f"violation: {violation}" for violation in self.evaluate("violations")]
        for event in self._mine():
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(f"exception: {details.get('exception', {}).get('description') or details['text']}")
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(f"console: {[argument.get('value') for argument in params['args']]}")
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    @property
    def requested(self) -> list[str]:
        """Every URL that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._mine()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _mine(self) -> Iterator[dict[str, Any]]:
        return (event for event in self._browser.events if event.get("sessionId") == self._session)
