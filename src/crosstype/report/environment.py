"""How pages are filled in: whatever comes from tables is text to be shown, never markup."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def page_environment() -> Environment:
    """Return the templates; ids and labels come from users and are escaped everywhere.

    One for all pages, since each keeps its templates compiled: a run may have a thousand patients.
    """
    return Environment(
        loader=PackageLoader("crosstype.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
