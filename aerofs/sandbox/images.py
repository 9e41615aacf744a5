"""The size of pictures, and making them smaller. Pillow is loaded when the first picture arrives."""

from pathlib import Path

_LONGEST_MAGIC = 12


def _looks_like_an_image(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_LONGEST_MAGIC)
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")) or head[8:] == b"WEBP"


def dimensions(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None where the file is no picture that can be understood."""
    if not _looks_like_an_image(path):
        return None
    from PIL import Image  # noqa: PLC0415 - costs 50 ms, which a sandbox without pictures need not pay

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def shrunk(path: Path, width: int) -> tuple[int, int] | None:
    """Make a picture that is wider than `width` pixels just so wide, in its own format, in place.

    Returns:
        Its size now; None where the file is no picture.
    """
    size = dimensions(path)
    if size is None or size[0] <= width:
        return size
    from PIL import Image  # noqa: PLC0415 - as above

    try:
        with Image.open(path) as image:
            smaller = image.resize((width, max(1, round(size[1] * width / size[0]))))
            smaller.save(path, format=image.format)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return size
    return smaller.size
