"""A headless Chromium that opens pages from disk and reports what they do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
SLOW_MS = 120_000


@dataclass
class Opened:
    """A page, and what went wrong in it: errors of scripts and of the console, and requests."""

    page: Any
    problems: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped with the reason if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'layerlimits[browser]'")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path, **settings: Any) -> Iterator[Opened]:
    """A page of a file in a context with these settings, after its scripts have run."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "accept_downloads": True, **settings})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    result = Opened(page)
    page.on("console", lambda message: message.type == "error" and result.problems.append(message.text))
    page.on("pageerror", lambda error: result.problems.append(str(error)))
    page.on("request", lambda request: request.url != file.as_uri() and result.problems.append(request.url[:100]))
    page.goto(file.as_uri())
    if settings.get("java_script_enabled", True):
        page.wait_for_function("document.documentElement.dataset.ready === 'yes' || !document.querySelector('#book')")
    yield result
    context.close()


PHONE = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True}

# Texts of charts that overlap one another or leave their drawing, as "chart: text" with the reason.
MISPLACED = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('.panels > svg')) {
    const frame = svg.getBoundingClientRect();
    const name = svg.closest('figure').dataset.name;
    const boxes = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
    for (const [text, box] of boxes) {
      const beside = box.left < frame.left - 1 || box.right > frame.right + 1;
      if (beside || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
        found.push(`${name}: ${text} leaves its drawing`);
    }
    const rows = {};
    for (const [text, box] of boxes) (rows[Math.round(box.top)] ??= []).push([text, box]);
    for (const row of Object.values(rows)) {
      row.sort((a, b) => a[1].left - b[1].left);
      row.slice(1).forEach(([text, box], place) => {
        if (box.left < row[place][1].right - 0.5) found.push(`${name}: ${row[place][0]} overlaps ${text}`);
      });
    }
  }
  return found;
}"""
