"""Tissue detection by Otsu's threshold on the saturation of a thumbnail, and artefact detection.

Saturation is (max - min) / max of R, G, B: nearly 0 for glass at any brightness of the lamp, and
high for haematoxylin and eosin. Brightness would include shadows, dust and marker, and lose pale
fat and stroma. The thumbnail is smoothed by 8 um first, against noise in the histogram.

Pen marks, blur and black borders are flagged; the spec may exclude them. Red ink is not detected:
on a thumbnail it has the colours of eosin and blood.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.filters import threshold_otsu

from crosstype.slides.slide import Slide
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
    """Artefacts of a slide, as shares from 0 to 1; higher is worse.

    Attributes:
        pen: blue, green or black pen marks, share of the slide.
        border: black areas that touch its edge, share of the slide.
        blur: blurred tissue, share of the tissue.
    """

    pen: float = 0.0
    border: float = 0.0
    blur: float = 0.0


def extremes(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the maximum and the minimum over R, G, B of each pixel."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    most = np.maximum(np.maximum(red, green), blue)
    return most, np.minimum(np.minimum(red, green), blue)


def is_dark(most: NDArray[np.uint8], least: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask of black or nearly black pixels, from their maximum and minimum channel."""
    return np.logical_and(most < DARKEST * 255, most - least < MOST_CHROMA * 255)


def find_borders(dark: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Return the mask of black areas that touch the edge."""
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
    """Return the mask of blue, green and black marks on a smoothed thumbnail, dilated by 1 px."""
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
    """Return the mask of blur: low variance of the Laplacian in windows of 128 um.

    Computed at `spec.thumbnail_mpp`, so that one threshold applies to all slides. Glass has low
    variance too; use the mask inside the tissue only.
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


FINEST_SIDE_PX = 512
SMOOTHING_UM = 8.0
GLASS_SATURATION = 0.10
"""Highest saturation of glass: 0.01 to 0.08 on five scanners' slides, tissue 0.1 to 0.6."""
LEAST_CONTRAST = 0.05
"""Tissue is at least this much more saturated than glass; less is noise or uneven light."""
LEAST_TEXTURE = 6.0
"""Below this deviation of green (0 to 255) a slide without glass is one colour, not tissue."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of one slide, detected on its thumbnail.

    Attributes:
        mask: (height, width), True for tissue.
        thumbnail: (height, width, 3) uint8 RGB, of the same size.
        scale_px: level-0 pixels per mask pixel, each way.
        mpp: micrometres per mask pixel.
        threshold: saturation above which a pixel is tissue; NaN if there is no tissue.
        flags: shares of pen marks, blur and black borders.
        reason: why there is no tissue; empty if there is some.
    """

    mask: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]
    scale_px: float
    mpp: float
    threshold: float
    flags: Flags
    reason: str = ""

    @property
    def area_mm2(self) -> float:
        """Tissue area in square millimetres."""
        return float(self.mask.sum()) * self.mpp**2 / 1e6


def find_tissue(slide: Slide, spec: TissueSpec) -> Tissue:
    """Detect the tissue of a slide; without tissue the result has a reason.

    Raises:
        SlideError: the slide is damaged at the level of the thumbnail.
    """
    longest_um = max(slide.size_px) * slide.mpp
    mpp = max(min(spec.thumbnail_mpp, longest_um / FINEST_SIDE_PX), slide.mpp)
    return find_tissue_on(slide.thumbnail(mpp), mpp, mpp / slide.mpp, spec)


def find_tissue_on(
    thumbnail: NDArray[np.uint8], mpp: float, scale_px: float, spec: TissueSpec
) -> Tissue:
    """Detect the tissue on a thumbnail of `mpp`, `scale_px` level-0 pixels per pixel."""
    blurred = Image.fromarray(thumbnail).filter(ImageFilter.GaussianBlur(SMOOTHING_UM / mpp))
    smooth = np.asarray(blurred)
    most, least = extremes(smooth)
    dark = is_dark(most, least)
    borders = find_borders(dark, mpp)
    pen = find_pen(smooth, dark, mpp) & ~borders
    saturation = ((most - least) / np.maximum(most, 1)).astype(np.float32)
    threshold, reason = _threshold(thumbnail, saturation, ~dark)
    excluded = (pen & spec.exclude_pen) | (borders & spec.exclude_borders)
    mask = (saturation > threshold) & ~excluded & ~borders
    mask = _tidy(mask, mpp, spec) & ~excluded
    blur = find_blur(thumbnail, mpp, spec) & mask
    flags = Flags(
        pen=float(pen.mean()),
        border=float(borders.mean()),
        blur=float(blur.sum() / max(1, mask.sum())),
    )
    had_some = bool(mask.any())
    if spec.exclude_blur:
        mask = _without_specks(mask & ~blur, spec.minimum_speck_um2 / mpp**2)
    if not mask.any():
        threshold, reason = float("nan"), reason or _why_none(flags, had_some=had_some)
    return Tissue(mask, thumbnail, scale_px, mpp, threshold, flags, reason)


def _threshold(
    thumbnail: NDArray[np.uint8], saturation: NDArray[np.float32], is_lit: NDArray[np.bool_]
) -> tuple[float, str]:
    """Return the saturation threshold of tissue; infinite, with a reason, if there is none.

    Otsu's method always splits in two. So its background must be as pale as glass (otherwise the
    whole slide is tissue, and the threshold is that of glass), and both parts must differ by more
    than noise.
    """
    if is_lit.mean() < 0.01:
        return np.inf, "the slide is black"
    values = saturation[is_lit]
    if values.min() == values.max():
        return np.inf, "the slide is of one colour throughout"
    threshold = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    above, below = values[values > threshold], values[values <= threshold]
    if np.median(below) >= GLASS_SATURATION:
        if thumbnail[..., 1][is_lit].std() < LEAST_TEXTURE:
            return np.inf, "the slide is of one colour throughout"
        return GLASS_SATURATION, ""
    if above.mean() - below.mean() < LEAST_CONTRAST:
        return np.inf, "the slide is blank: nothing is more coloured than glass"
    return max(threshold, float(np.median(below)) + LEAST_CONTRAST / 2), ""


def _why_none(flags: Flags, *, had_some: bool) -> str:
    """Return the reason why no tissue is left although some pixels are coloured."""
    if had_some:
        return "all tissue is blurred"
    if flags.pen or flags.border:
        return "nothing but pen marks or black borders"
    return "nothing coloured is as large as a piece of tissue"


def _tidy(mask: NDArray[np.bool_], mpp: float, spec: TissueSpec) -> NDArray[np.bool_]:
    """Fill small holes, then remove small pieces."""
    filled = ~_without_specks(~mask, spec.minimum_hole_um2 / mpp**2)
    if filled.all() and not mask.any():  # an all-glass mask is no hole
        return mask
    return _without_specks(filled, spec.minimum_speck_um2 / mpp**2)


def _without_specks(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """Return a mask without its 4-connected components of fewer pixels than `least_px`."""
    labels, n = ndimage.label(mask)
    if not n:
        return mask
    keep = np.bincount(labels.ravel()) >= least_px
    keep[0] = False
    kept: NDArray[np.bool_] = keep[labels]
    return kept
