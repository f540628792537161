"""Extract a folder of slides slowly, to be killed: `python -m slow_extraction SLIDES OUT DELAY`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    place = Path(__file__).with_name("fake_slides.py")
    spec = importlib.util.spec_from_file_location("fake_slides", place)
    assert spec is not None
    assert spec.loader is not None
    fake = importlib.util.module_from_spec(spec)
    sys.modules["fake_slides"] = fake
    spec.loader.exec_module(fake)
    slides, out, delay = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    encoder = fake.FakeEncoder(delay=float(delay))
    rows = fake.extract(Path(slides), Path(out), encoder, augmentation={"n_views": 1})
    sys.exit(any(row.fault for row in rows))
