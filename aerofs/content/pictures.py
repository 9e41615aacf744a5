"""Whether a picture is another one in another size: what tells ours where the platform makes images smaller.

Both are reduced to the same small grid of cells, and the cells are compared one by one: a page of a form without its
signature is another page. Blocks; runs in a thread.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

_CELLS = 64
"""At most, in each direction."""
_PIXELS = 4
"""So many of the smaller picture, in each direction, make a cell: how it was reduced, and its artefacts, even out."""
_FEWEST = 8
_SAME, _OTHER = 24, 128
"""Of 255, in the cell and colour that differ most. (Measured: 19 at most between photos and pages of text and what JPEG
and the usual filters made of them; 43 at least without a signature.)"""


def same_picture(whole: Path, reduced: Path) -> bool | None:
    """Whether the second file shows what the first one shows, no larger; None where that cannot be told."""
    from PIL import Image  # noqa: PLC0415 -- it takes a while, and is hardly ever needed

    try:
        with Image.open(whole) as ours, Image.open(reduced) as theirs:
            # What is to be turned may have been turned when it was reduced.
            verdicts = [_same(seen, _upright(theirs)) for seen in (_upright(ours), ours)]
    except Exception as error:  # noqa: BLE001 -- what a stranger's odd file makes Pillow raise has no common class:
        # NotImplementedError (DDS), RuntimeError (AVIF), SyntaxError (PNG) and others. It is no mistake of ours,
        # and must not end every try of our save.
        log.info("whether %s shows what %s shows cannot be told: %r", reduced, whole, error)
        return None
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps  # noqa: PLC0415 -- as above

    return ImageOps.exif_transpose(image)


def _same(ours: "Image", theirs: "Image") -> bool | None:
    from PIL import Image, ImageChops  # noqa: PLC0415 -- as above

    width, height = theirs.size
    # Sides are rounded to whole pixels.
    if width > ours.width or abs(ours.width * height - ours.height * width) > max(ours.size):
        return False
    cells = (min(_CELLS, width // _PIXELS), min(_CELLS, height // _PIXELS))
    if min(cells) < _FEWEST or not (_opaque(ours) and _opaque(theirs)):
        return None
    # First the size, that the cells hold the same pixels.
    fitted = ours.convert("RGB").resize(theirs.size, Image.Resampling.LANCZOS)
    one, other = (image.resize(cells, Image.Resampling.BOX) for image in (fitted, theirs.convert("RGB")))
    difference = max(ImageChops.difference(one, other).tobytes())
    if difference <= _SAME:
        return True
    return False if difference >= _OTHER else None


def _opaque(image: "Image") -> bool:
    """Its colours are what is seen, and have eight bits."""
    return image.mode[0] not in "IF" and not image.has_transparency_data
