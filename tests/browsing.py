"""A real browser for tests: pages that remember what went wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "<script>alert(1)</script>"
QUOTED = '"onmouseover="alert(1)'


@dataclass
class Opened:
    """A page and what it did besides being shown.

    Attributes:
        page: of playwright.
        faults: errors of the console and of scripts, and dialogs that scripts opened.
        asked: addresses of everything that was asked for.
    """

    page: Any
    faults: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def grave(self) -> list[str]:
        """Unfold the page and return the violations that axe calls serious or critical."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here")
        # Later rows of a table are made like the first ones, and a figure with a name has no parts
        # for who hears it; axe would take long over both.
        many = "document.querySelectorAll('tbody tr:nth-child(n+4), svg > *')"
        self.page.evaluate(f"{many}.forEach(it => it.remove())")
        self.page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        found = axe.Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"][:3]
        ]

    def injected(self) -> int:
        """Return how many elements hold a handler that a hostile name could have brought."""
        return int(self.page.locator("[onmouseover], :is(header, main) script").count())


@contextmanager
def opened(browser: Any, address: str, width: int = 1440) -> Iterator[Opened]:
    """Open an address in a fresh page of this width."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    one = Opened(context.new_page())
    page = one.page
    page.on("request", lambda asked: one.asked.append(asked.url))
    page.on("pageerror", lambda error: one.faults.append(str(error)))

    def heard(said: Any) -> None:
        # The tests' own reading of a canvas makes Chromium warn.
        if said.type in {"error", "warning"} and not said.text.startswith("Canvas2D"):
            one.faults.append(said.text)

    def asked(dialog: Any) -> None:
        one.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("console", heard)
    page.on("dialog", asked)
    page.goto(address)
    yield one
    context.close()


def address_of(path: Path) -> str:
    """Return a file's address."""
    return path.resolve().as_uri()
