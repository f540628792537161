"""Run the README's Python in the folder that holds `demo`, and paste what it prints.

`make demo && python docs/make_readme_output.py .` refreshes README.md; with `--check` it only says
whether the pasted output is true, by its exit code (0: true, 1: not).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<output>.*?)```\n", re.DOTALL)


def output_of(code: str, folder: Path) -> str:
    """Return what the code prints when run in this folder, where `make demo` has run."""
    said = io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    finally:
        os.chdir(before)
    return said.getvalue()


def main() -> int:
    """Refresh or check the output in the README."""
    folders = [one for one in sys.argv[1:] if one != "--check"]
    text = README.read_text(encoding="utf-8")
    found = BLOCKS.search(text)
    if len(folders) != 1 or found is None:
        print("Usage: python docs/make_readme_output.py FOLDER [--check]", file=sys.stderr)
        return 2
    output = output_of(found["code"], Path(folders[0]))
    fresh = text[: found.start("output")] + output + text[found.end("output") :]
    if fresh == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("README.md shows another output. Run it without --check.", file=sys.stderr)
        return 1
    README.write_text(fresh, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
