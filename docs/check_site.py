"""Open the built site in a headless Chromium, narrow and wide: `make check-site`.

Looks at home, guide, a page of the reference, the gallery and an example. Each must show no error
in the console, ask no other machine for anything, miss no image, give each image a text, have its
headings in order and nothing wider than the screen; the search must find what is looked for.
Screenshots are left beside the site.
"""

import base64
import contextlib
import functools
import http.server
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PAGES = [
    "index.html",
    "guide/index.html",
    "guide/which_detector.html",
    "guide/thresholds.html",
    "api.html",
    "generated/skad.DeepSAD.html",
    "auto_examples/index.html",
    "auto_examples/plot_demo.html",
]
WIDTHS = [400, 1400]
SEARCH = "threshold"

# What is wrong with a page, as a list of texts.
FAULTS = """
(async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  const faults = [];
  for (const image of document.images) {
    if (!image.naturalWidth) faults.push("missing image " + image.src);
    // A thumbnail stands above its title.
    const titled = image.closest(".sphx-glr-thumbcontainer");
    if (!image.alt && !titled) faults.push("no text for image " + image.src);
  }
  if (document.documentElement.scrollWidth > innerWidth) {
    faults.push("wider than the screen: " + document.documentElement.scrollWidth + " pixels");
    for (const element of document.querySelectorAll("main *")) {
      if (element.getBoundingClientRect().right > innerWidth + 1) {
        faults.push("  " + element.outerHTML.slice(0, 100));
        if (faults.length > 8) break;
      }
    }
  }
  let level = 0;
  for (const heading of document.querySelectorAll("article :is(h1, h2, h3, h4, h5, h6)")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push("heading out of order: " + heading.textContent);
    level = next;
  }
  return faults;
})()
"""


class Browser:
    """Chromium, spoken to in its DevTools protocol over a pair of pipes."""

    def __init__(self, path):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        script = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'  # Chromium reads from 3 and writes to 4
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(commands), str(answers), path]
            + ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
            + [f"--user-data-dir={self.profile.name}", "about:blank"],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.numbers, self.buffer, self.events, self.session = itertools.count(1), b"", [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def _read(self):
        while b"\0" not in self.buffer:
            part = os.read(self.answers, 2**16)
            if not part:
                raise RuntimeError("Chromium has ended.")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        message = {"id": next(self.numbers), "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != message["id"]:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def evaluate(self, code):
        result = self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        return result["result"].get("value")

    def open(self, url, width):
        self.events = []
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self, base):
        """Console messages, and requests to elsewhere, since the page was opened."""
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                yield f"exception {params['exceptionDetails']['text']}"
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                yield f"console: {params['entry']['text']} {params['entry'].get('url', '')}"
            elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
                yield f"console: {params['args'][0].get('value')}"
            elif event.get("method") == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith((base, "data:", "about:", "blob:")):
                    yield f"asks elsewhere: {url}"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source, output):
        with contextlib.suppress(BrokenPipeError):  # the browser has left the page
            super().copyfile(source, output)

    def log_message(self, *args):
        pass


def check(browser, base, shots):
    """Yield what is wrong, page by page."""
    for page in PAGES:
        for width in WIDTHS:
            browser.open(f"{base}/{page}", width)
            faults = browser.evaluate(FAULTS)
            browser.screenshot(shots / f"{page.replace('/', '-')}-{width}.png")
            yield from (f"{page} at {width}: {f}" for f in [*faults, *browser.complaints(base)])
    browser.open(f"{base}/search.html?q={SEARCH}", WIDTHS[0])
    found, end = 0, time.monotonic() + 20
    while not found and time.monotonic() < end:
        time.sleep(0.2)
        found = browser.evaluate("document.querySelectorAll('#search-results li').length")
    browser.screenshot(shots / "search.png")
    yield from (f"search: {fault}" for fault in browser.complaints(base))
    if not found:
        yield f"search: {SEARCH!r} is not found"


def main(site):
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        print("check-site: skipped, there is no chromium on this machine.")
        return 0
    shots = site.parent / "screenshots"
    shots.mkdir(exist_ok=True)
    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser(path)
    try:
        faults = list(check(browser, f"http://127.0.0.1:{server.server_port}", shots))
    finally:
        browser.close()
        server.shutdown()
    for fault in faults:
        print(fault)
    print(f"check-site: {len(PAGES)} pages and the search, {len(faults)} faults; see {shots}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
