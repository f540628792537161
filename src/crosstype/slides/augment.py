"""Augmentation of tiles: colour jitter and rotation by any angle, without filled corners."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from crosstype.slides.spec import AugmentationSpec


def view_margin(size_px: int) -> int:
    """Return the margin of pixels around a tile that rotation needs on each side.

    Half the difference between the tile's diagonal and its side, plus two for interpolation.
    """
    return math.ceil(size_px * (math.sqrt(2) - 1) / 2) + 2


def draw_view(
    region: NDArray[np.uint8], size_px: int, spec: AugmentationSpec, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw one augmented view of the tile in the middle of a region.

    Args:
        region: (s, s, 3) uint8 RGB with s = size_px + 2 * view_margin(size_px); without rotation
            any s from size_px on.
        size_px: width and height of the view.
        spec: strengths of the changes.
        rng: random generator.

    Returns:
        (size_px, size_px, 3) uint8 RGB. Brightness, contrast, saturation and hue are changed in
        random order, like torchvision's ColorJitter.

    Raises:
        ValueError: the region is too small.
    """
    margin = view_margin(size_px) if spec.rotation else 0
    if min(region.shape[:2]) < size_px + 2 * margin:
        found = f"{region.shape[1]} x {region.shape[0]} px"
        raise ValueError(f"a region of {found}; expected {size_px + 2 * margin} px each way")
    angle = float(rng.uniform(0, 360))
    image = _middle(region, size_px, angle) if spec.rotation else _middle(region, size_px, 0.0)
    for change in rng.permutation(4):
        image = _changed(image, int(change), spec, rng)
    return np.array(image, dtype=np.uint8)


def _middle(region: NDArray[np.uint8], size_px: int, angle: float) -> Image.Image:
    """Return the middle of a region, rotated anticlockwise by `angle` degrees."""
    height, width = region.shape[:2]
    if angle == 0.0:
        left, top = (width - size_px) // 2, (height - size_px) // 2
        return Image.fromarray(region[top : top + size_px, left : left + size_px].copy())
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = size_px / 2
    # Map from the view's pixels to the region's: rotation about the middle of both.
    across = (cos, -sin, width / 2 - half * (cos - sin))
    down = (sin, cos, height / 2 - half * (sin + cos))
    return Image.fromarray(region).transform(
        (size_px, size_px),
        Image.Transform.AFFINE,
        (*across, *down),
        resample=Image.Resampling.BICUBIC,
    )


def _changed(
    image: Image.Image, change: int, spec: AugmentationSpec, rng: np.random.Generator
) -> Image.Image:
    """Return an image with one of its four colour properties changed at random."""
    if change == 3:
        return _hue_turned(image, float(rng.uniform(-spec.hue, spec.hue)))
    strength = (spec.brightness, spec.contrast, spec.saturation)[change]
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
    return enhance(image).enhance(float(rng.uniform(max(0.0, 1 - strength), 1 + strength)))


def _hue_turned(image: Image.Image, share: float) -> Image.Image:
    """Return an image with its hue rotated by a share of the colour circle."""
    turn = round(share * 255)
    if not turn:
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([(level + turn) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
