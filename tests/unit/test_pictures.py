"""Whether a picture is another one made smaller."""

from functools import cache
from pathlib import Path
from random import Random

import pytest
from PIL import Image, ImageDraw, ImageOps

from aerofs.content.pictures import same_picture


@cache
def photo(seed: int = 1, size: tuple[int, int] = (1200, 800)) -> Image.Image:
    blots = Image.frombytes("RGB", (12, 8), Random(seed).randbytes(12 * 8 * 3))
    return blots.resize(size, Image.Resampling.BICUBIC)


@cache
def page(seed: int = 1, *, signed: bool = True) -> Image.Image:
    """A form in the size of a sheet, with lines of words."""
    sheet, chance = Image.new("RGB", (1240, 1754), "white"), Random(seed)
    draw = ImageDraw.Draw(sheet)
    for line in range(100, 1500, 40):
        left = 100
        while left < 1100:
            right = left + chance.randrange(20, 120)
            for stroke in range(left, right, 7):
                draw.line((stroke, line, stroke + chance.randrange(4), line + 20), "black", 2)
            left = right + 15
    if signed:
        draw.line((700, 1650, 760, 1600, 800, 1660, 860, 1610), "navy", 3)
    return sheet


def made(
    image: Image.Image, path: Path, width: int, how: Image.Resampling = Image.Resampling.LANCZOS
) -> Path:
    smaller = image.resize((width, round(image.height * width / image.width)), how)
    smaller.save(path, quality=60)
    return path


@pytest.mark.parametrize("how", [Image.Resampling.LANCZOS, Image.Resampling.BOX])
@pytest.mark.parametrize("width", [400, 150])
@pytest.mark.parametrize("kind", ["photo", "page"])
def test_a_smaller_picture_is_the_same(tmp_path: Path, how: Image.Resampling, width: int, kind: str) -> None:
    image = photo() if kind == "photo" else page()
    image.save(whole := tmp_path / "whole.bmp")
    assert same_picture(whole, made(image, tmp_path / "small.jpg", width, how))
    assert same_picture(whole, made(image, tmp_path / "small.png", width, how))


def test_another_picture_is_not(tmp_path: Path) -> None:
    photo(1).save(whole := tmp_path / "whole.bmp")
    assert same_picture(whole, made(photo(2), tmp_path / "a.png", 400)) is False
    assert same_picture(whole, made(page(), tmp_path / "b.png", 400)) is False


@pytest.mark.parametrize("width", [800, 400])
def test_a_page_is_not_taken_for_another_one(tmp_path: Path, width: int) -> None:
    page(1).save(whole := tmp_path / "whole.bmp")
    for other in (page(2), page(1, signed=False)):
        small = made(other, tmp_path / "small.jpg", width)
        assert not same_picture(whole, small)


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_may_have_been_turned_when_it_was_made_smaller(tmp_path: Path, *, turned: bool) -> None:
    image, exif = photo(), Image.Exif()
    exif[0x0112] = 6
    image.save(whole := tmp_path / "whole.jpg", exif=exif)
    with Image.open(whole) as saved:
        seen = ImageOps.exif_transpose(saved) if turned else photo()
    assert same_picture(whole, made(seen, tmp_path / "small.jpg", 300))


def test_what_cannot_be_told_is_not_said(tmp_path: Path) -> None:
    photo(size=(300, 200)).save(whole := tmp_path / "whole.png")
    (text := tmp_path / "text").write_bytes(b"a page of a proxy")
    tiny = made(photo(), tmp_path / "tiny.png", 24)
    photo(size=(300, 200)).convert("RGBA").save(clear := tmp_path / "clear.png")
    Image.new("I;16", (300, 200), 40000).save(deep := tmp_path / "deep.png")
    (torn := tmp_path / "torn.png").write_bytes(whole.read_bytes()[:2000])
    photo(size=(300, 200)).save(odd := tmp_path / "odd.dds")
    data = odd.read_bytes()
    odd.write_bytes(data[:80] + bytes(4) + data[84:])  # of no pixel format: NotImplementedError
    for one, other in (
        (whole, text),
        (text, whole),
        (whole, tiny),
        (clear, clear),
        (deep, deep),
        (whole, torn),
        (whole, odd),
        (odd, whole),
    ):
        assert same_picture(one, other) is None


def test_no_picture_is_made_larger(tmp_path: Path) -> None:
    photo(size=(300, 200)).save(whole := tmp_path / "whole.png")
    photo(size=(600, 400)).save(larger := tmp_path / "larger.png")
    assert same_picture(whole, larger) is False
