"""torchvision beside a torch it was not built for: mended on one error only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crosstype.features.encoders.weights import import_timm

# A stand-in that fails as a torchvision built for CUDA does beside a CPU torch: after importing
# half of itself, since an operator is unknown.
STAND_IN = """\
import torch
from torchvision import half
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
torch.library.register_fake("torchvision::qnms")(lambda dets, scores, iou_threshold: dets)
whole = True
"""
USE = """\
from crosstype.features.encoders.weights import import_torchvision
found = import_torchvision()
print(found.whole, found.half.imports)
"""
HALF = """\
import sys
imports = sys.imports = getattr(sys, "imports", 0) + 1
"""


def run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        held = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join([str(path), held] if held else [str(path)])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def stand_in(folder: Path, text: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    (package / "half.py").write_text(HALF)
    return folder


def test_missing_operators_are_declared_and_the_import_starts_over(tmp_path):
    done = run(USE, stand_in(tmp_path, STAND_IN))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "2"]


@pytest.mark.parametrize("fault", ["RuntimeError('no such device')", "ImportError('libjpeg')"])
def test_any_other_fault_passes_through(tmp_path, fault):
    done = run(USE, stand_in(tmp_path, f"raise {fault}\n"))
    assert done.returncode == 1
    assert fault.split("'")[1] in done.stderr.splitlines()[-1]


def test_timm_and_its_transforms_import_here():
    timm = import_timm()
    import torchvision.transforms.v2

    assert torchvision.transforms.v2.Resize
    assert timm.is_model("resnet50")
    assert import_timm() is timm
