"""What spoils a slide: pen marks, blur, black borders. Each is flagged; the spec may exclude it.

Red ink is not looked for: on a thumbnail it has the colours of eosin and blood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from crosstype.slides.spec import TissueSpec

DARKEST = 0.22
"""Black ink and unscanned borders are darker than this; the densest nuclei, blurred, are not."""
MOST_CHROMA = 0.16
"""Black has at most this much between its strongest and weakest primary."""
BLUE_INK = (0.50, 0.66)
"""Hues of blue ink, as shares of the colour circle; haematoxylin starts at 0.61, but paler."""
GREEN_INK = (0.20, 0.50)
"""Hues of green ink; neither stain comes near."""
LEAST_INK_SATURATION = (0.55, 0.25)
"""Blue and green ink are at least this saturated; bluish haematoxylin was measured up to 0.41."""
LEAST_MARK_UM2 = 40_000.0
"""Smaller marks than a square of 0.2 mm are pigment or dust, not pen."""
BLUR_WINDOW_UM = 128.0


@dataclass(frozen=True)
class Flags:
    """How much of a slide is spoilt, as shares from 0 to 1; higher is worse.

    Attributes:
        pen: blue, green or black pen marks, share of the slide.
        border: black areas that touch its edge, share of the slide.
        blur: blurred tissue, share of the tissue.
    """

    pen: float = 0.0
    border: float = 0.0
    blur: float = 0.0


def extremes(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the strongest and the weakest primary of each pixel."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    most = np.maximum(np.maximum(red, green), blue)
    return most, np.minimum(np.minimum(red, green), blue)


def is_dark(most: NDArray[np.uint8], least: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where pixels are black, or nearly, from their strongest and weakest primary."""
    return np.logical_and(most < DARKEST * 255, most - least < MOST_CHROMA * 255)


def find_borders(dark: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Return the black areas that touch the edge."""
    if not dark.any():
        return dark
    labels, n = ndimage.label(dark)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    keep = np.zeros(n + 1, dtype=bool)
    keep[edges] = True
    keep &= np.bincount(labels.ravel()) * mpp**2 >= LEAST_MARK_UM2
    keep[0] = False
    found: NDArray[np.bool_] = keep[labels]
    return found


def find_pen(smooth: NDArray[np.uint8], dark: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Return blue, green and black marks of a smoothed thumbnail, widened by a pixel."""
    hsv = np.asarray(Image.fromarray(smooth).convert("HSV"))
    hue, saturation = hsv[..., 0], hsv[..., 1]
    least_blue, least_green = (255 * least for least in LEAST_INK_SATURATION)
    first_blue, last_blue, first_green, last_green = (255 * ink for ink in BLUE_INK + GREEN_INK)
    blue = (hue >= first_blue) & (hue < last_blue) & (saturation > least_blue)
    green = (hue >= first_green) & (hue < last_green) & (saturation > least_green)
    ink = blue | green | dark
    if not ink.any():
        return ink
    labels, _ = ndimage.label(ink)
    keep = np.bincount(labels.ravel()) * mpp**2 >= LEAST_MARK_UM2
    keep[0] = False
    found: NDArray[np.bool_] = ndimage.binary_dilation(keep[labels])
    return found


def find_blur(thumbnail: NDArray[np.uint8], mpp: float, spec: TissueSpec) -> NDArray[np.bool_]:
    """Return where a thumbnail has no detail: the Laplacian varies little within 128 um.

    Always judged at `spec.thumbnail_mpp`, so that one threshold serves every slide. Glass has no
    detail either; look inside the tissue only.
    """
    height, width = thumbnail.shape[:2]
    grey = Image.fromarray(thumbnail).convert("L")
    factor = max(1.0, spec.thumbnail_mpp / mpp)
    if factor > 1:
        size_px = (max(1, round(width / factor)), max(1, round(height / factor)))
        grey = grey.resize(size_px, Image.Resampling.BOX)
    window_px = max(3, round(BLUR_WINDOW_UM / (mpp * factor)))
    detail = ndimage.laplace(np.asarray(grey, dtype=np.float32))
    mean = ndimage.uniform_filter(detail, window_px)
    variance = ndimage.uniform_filter(detail**2, window_px) - mean**2
    rows = (np.arange(height) * variance.shape[0]) // height
    columns = (np.arange(width) * variance.shape[1]) // width
    blurred: NDArray[np.bool_] = variance[np.ix_(rows, columns)] < spec.blur_variance
    return blurred
