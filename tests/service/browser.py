"""Chromium without a window, driven as its DevTools are (https://chromedevtools.github.io/devtools-protocol/)."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
# A container has no user namespaces for its sandbox; what is drawn is our own page.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--no-proxy-server")
SECONDS = 60


class Page:
    """One page, in which expressions are evaluated."""

    def __init__(self, commands: int, answers: int, address: str) -> None:
        """Return once the page has loaded."""
        self._commands, self._answers, self._came = commands, answers, b""
        self._number = 0
        # What the console says, of what a policy would not let it load too.
        self.complaints: list[str] = []
        self._session: dict[str, str] = {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._send("Page.navigate", url=address)
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression, or the promise that it is, comes to."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _call(self, method: str, **params: Any) -> Any:
        number = self._send(method, **params)
        while (message := self._read()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    def _send(self, method: str, **params: Any) -> int:
        self._number += 1
        command = {"id": self._number, "method": method, "params": params} | self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        return self._number

    def _read(self) -> dict[str, Any]:
        """Return the next answer or event."""
        while b"\0" not in self._came:
            assert select.select([self._answers], [], [], SECONDS)[0], "the browser says nothing"
            come = os.read(self._answers, 1 << 16)
            assert come, "the browser has ended"
            self._came += come
        message, _, self._came = self._came.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if found.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(found["params"]))
        return found


@contextmanager
def opened(address: str, folder: Path) -> Iterator[Page]:
    """Give a page in a browser of its own, whose profile is in a folder."""
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    # It reads from 3 and writes to 4. Not every sh knows a descriptor of two digits.
    run = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    options = [*OPTIONS, *QUIET, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        ["bash", "-c", run, str(CHROMIUM), *options],
        pass_fds=(theirs_in, theirs_out),
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(commands, answers, address)
    finally:
        # It ends when its pipe does.
        os.close(commands)
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            os.close(answers)
