"""A headless Chromium that loads one page and answers questions about it, over its debugging protocol."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from effectpairs.flows.doctor import BROWSERS
from websockets.sync.client import ClientConnection, connect

CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), "")
OFFLINE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
    "--force-device-scale-factor=1",
]


class Page:
    """An open page: `errors` is what it complained of so far."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []

    def call(self, method: str, **parameters):
        """One command of the protocol; what the page reports meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def ask(self, expression: str):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, *, at_most_s: float = 30) -> None:
        """Until the expression is true."""
        end = time.monotonic() + at_most_s
        while not self.ask(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            text = key if kind == "keyDown" and len(key) == 1 else ""  # a named key, such as Enter, writes nothing
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _note(self, message: dict) -> None:
        method, details = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(details["exceptionDetails"]))
        elif method == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.errors.append(details["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not details["request"]["url"].startswith(
            ("file:", "data:", "blob:")
        ):
            self.errors.append(f"asks the network for {details['request']['url']}")


def require_chromium(purpose: str) -> None:
    """Skip the test where there is no Chromium; fail it where EFFECTPAIRS_REQUIRE_PROGRAMS is set, as in .ci/run."""
    if not CHROMIUM:
        refuse = pytest.fail if os.environ.get("EFFECTPAIRS_REQUIRE_PROGRAMS") else pytest.skip
        refuse(f"no Chromium to {purpose} with; install it, e.g. apt-get install chromium")


@contextmanager
def open_page(url: str, profile: Path, *, size: tuple[int, int] = (1400, 1000)) -> Iterator[Page]:
    """Open a page in a Chromium of its own, which ends with the block."""
    command = [CHROMIUM, *OFFLINE, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = _socket_of(profile, process)
        with connect(browser, max_size=None) as socket:
            targets = Page(socket).call("Target.getTargets")["targetInfos"]
        tab = next(found["targetId"] for found in targets if found["type"] == "page")
        with connect(f"{browser.split('/devtools')[0]}/devtools/page/{tab}", max_size=None) as socket:
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            page.call("Page.navigate", url=url)
            page.wait("document.readyState === 'complete'")
            yield page
    finally:
        process.terminate()
        process.wait(timeout=20)


def _socket_of(profile: Path, process: subprocess.Popen) -> str:
    """The debugging address, which Chromium writes to its profile once it listens."""
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + 40
    while not (file.is_file() and len(lines := file.read_text().split()) == 2):
        assert process.poll() is None, "chromium ended while it started"
        assert time.monotonic() < end, "chromium did not start listening within 40 s"
        time.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
