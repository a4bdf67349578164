"""A client of a headless Chromium over a pair of pipes (`--remote-debugging-pipe`), without dependencies.

It speaks the DevTools protocol: JSON messages that end in a zero byte.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60.0


def find_browser() -> str | None:
    """The path of an installed Chromium; LOGCOSH_VAE_BROWSER names another one."""
    named = os.environ.get("LOGCOSH_VAE_BROWSER")
    return named or next(filter(None, map(shutil.which, EXECUTABLES)), None)


class BrowserError(Exception):
    """The browser answered with an error, or a script in the page raised one."""


class Browser:
    """A page in a headless browser.

    Args:
        executable: path of Chromium.
        profile: empty folder for its files.
    """

    def __init__(self, executable: str, profile: Path) -> None:
        commands, answers = os.pipe(), os.pipe()
        # both numbers above those that the browser expects, so that none is overwritten before it is used
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands[0], answers[1]))

        def connect() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        options = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
        options += ["--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [executable, *options, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=connect,
            start_new_session=True,
        )
        for end in (commands[0], answers[1], read, write):
            os.close(end)
        self._commands, self._answers = commands[1], answers[0]
        self._received = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [each["targetId"] for each in targets if each["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(20)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._commands)
            os.close(self._answers)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that arrive meanwhile are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            read = os.read(self._answers, 1 << 20)
            if not read:
                raise BrowserError("the browser has ended")
            self._received += read
        message, self._received = self._received.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def open(
        self, page: Path, width: int = 1200, height: int = 900, *, dark: bool = False, touch: bool = False
    ) -> None:
        """Open a file in a window of some size and wait until the page has computed everything."""
        self.resize(width, height, dark=dark, touch=touch)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.body?.classList.contains('ready') || document.body?.classList.contains('failed')")
        if self.run("document.body.classList.contains('ready')"):
            self.settle()

    def resize(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the window, the colour scheme, and whether there is a touch screen."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise BrowserError(f"still not true after {SECONDS:.0f} s: {condition}")
            time.sleep(0.05)

    def settle(self) -> None:
        """Wait until the page has nothing left to compute."""
        self.wait("window.explorer.state.schedule.isIdle")

    def place(self, selector: str, right: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Scroll to an element and return the place in it, such as (0.5, 0.5) for its centre, in the window."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height]; })()"
        )
        return box[0] + right * box[2], box[1] + down * box[3]

    def drag(self, points: Sequence[tuple[float, float]], *, touch: bool = False) -> None:
        """Press at the first point of the window, move to the others and release."""
        last = len(points) - 1
        if touch:
            for index, (x, y) in enumerate(points):
                kind = "touchMove" if index else "touchStart"
                self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
            self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        for index, (x, y) in enumerate(points):
            kind = "mouseMoved" if index else "mousePressed"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        x, y = points[last]
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def click(self, selector: str) -> None:
        """Click the centre of an element."""
        self.drag([self.place(selector)])

    def press(self, key: str, *, code: int = 0, shift: bool = False) -> None:
        """Press a key, such as `ArrowLeft`."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                modifiers=8 if shift else 0,
            )  # fmt: skip

    def drop_file(self, selector: str, file: Path) -> None:
        """Drop a file from the disk on an element."""
        x, y = self.place(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, target: Path, *, full: bool = True) -> None:
        """Write a picture of the page."""
        content = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        target.write_bytes(base64.b64decode(content))

    def problems(self) -> list[str]:
        """Errors in the console, and addresses that the page has asked for besides itself."""
        found = []
        for event in self.events:
            method, details = event["method"], event.get("params", {})
            if method == "Runtime.exceptionThrown" or (
                method == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning")
            ):
                found.append(json.dumps(details))
            if method == "Network.requestWillBeSent":
                url = details["request"]["url"]
                if not url.startswith(("data:", "blob:")) and details.get("type") != "Document":
                    found.append(url)
        return found
