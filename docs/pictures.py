"""Makes the README's pictures from the running demo: the terminal (demo.svg) and the live page.

    make pictures            needs Chromium (apt-get install chromium fonts-inter fonts-noto-color-emoji)

The page is photographed after the demo has run for a while, and how long it took to show is printed.
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).parent
WIDTH, HEIGHT = 1280, 1180
QUALITY = 82
LARGEST = 200 * 1024
"""Bytes of a picture: it is loaded by everybody who looks at the repository."""


def main() -> None:
    """Run the demo, take the pictures, end the demo."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=75, help="how long the demo runs before")
    seconds = options.parse_args().seconds
    command = [sys.executable, "-m", "worker", "demo", "--picture", str(DOCS / "demo.svg")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as demo:
        try:
            address = _address(demo)
            time.sleep(seconds)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--headless", "--no-sandbox", "--disable-gpu"],
                )
                for theme in ("light", "dark"):
                    _take(browser, address, theme)
                browser.close()
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.communicate(timeout=60)


def _address(demo: subprocess.Popen[str]) -> str:
    assert demo.stderr is not None
    for line in demo.stderr:
        found = re.match(r"page (\S+)", line)
        if found:
            return found[1]
    sys.exit("the demo ended before it said where its page is")


def _take(browser: Browser, address: str, theme: str) -> None:
    """One picture of the page, in WebP."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=1.5,
        locale="en-GB",
        timezone_id="UTC",
    )
    page = context.new_page()
    page.goto(address)
    page.locator("#terms li").first.wait_for()
    shown = page.evaluate("performance.getEntriesByName('moodstream:shown')[0].startTime")
    time.sleep(8)
    session = context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    picture = DOCS / f"page-{theme}.webp"
    picture.write_bytes(base64.b64decode(shot["data"]))
    size = picture.stat().st_size
    print(f"{picture.name}: {size // 1024} KiB; the page showed its chart after {shown:.0f} ms")
    if size > LARGEST:
        sys.exit(f"{picture.name} is larger than {LARGEST // 1024} KiB: lower QUALITY")
    context.close()


if __name__ == "__main__":
    main()
