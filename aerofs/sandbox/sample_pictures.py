"""Pictures of the sample company, painted by Pillow: landscapes, plates, portraits, scans. Seeded."""

import math
from io import BytesIO
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]

_SKIES: tuple[tuple[Color, Color], ...] = (
    ((92, 150, 205), (235, 225, 205)),
    ((40, 58, 105), (244, 164, 112)),
    ((120, 178, 190), (246, 238, 214)),
    ((66, 96, 130), (214, 190, 200)),
)
_HILLS: tuple[Color, ...] = ((70, 108, 96), (96, 86, 110), (58, 94, 122), (110, 104, 70))
_FOODS: tuple[tuple[Color, ...], ...] = (
    ((204, 62, 48), (96, 146, 62), (246, 226, 170)),
    ((222, 164, 62), (128, 84, 46), (120, 164, 84)),
    ((236, 132, 104), (250, 240, 222), (84, 132, 74)),
    ((120, 70, 52), (236, 210, 160), (196, 60, 84)),
)


def _blend(low: Color, high: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _gradient(width: int, height: int, top: Color, bottom: Color) -> Image.Image:
    column = Image.new("RGB", (1, height))
    for y in range(height):
        column.putpixel((0, y), _blend(top, bottom, y / height))
    return column.resize((width, height))


def landscape(random: Random, *, width: int = 1600, height: int = 1067) -> Image.Image:
    """Hills in the haze under a sun."""
    top, bottom = random.choice(_SKIES)
    sky = _gradient(width // 4, height // 4, top, bottom)
    x, y, radius = (
        random.uniform(0.15, 0.85) * sky.width,
        random.uniform(0.15, 0.4) * sky.height,
        sky.width / 20,
    )
    ImageDraw.Draw(sky).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 214))
    image = sky.filter(ImageFilter.GaussianBlur(1)).resize((width, height))
    draw = ImageDraw.Draw(image)
    near = random.choice(_HILLS)
    layers = 5
    for layer in range(layers):
        phases = [random.uniform(0, math.tau) for _ in range(3)]
        base = height * (0.45 + 0.11 * layer)
        ridge = [
            (
                px,
                base
                + height
                * 0.06
                * sum(math.sin(px / width * 4 * (n + 1) + phases[n]) / (n + 1) for n in range(3)),
            )
            for px in range(0, width + 8, 8)
        ]
        color = _blend(bottom, near, (layer + 1) / layers)
        draw.polygon([(0, height), *ridge, (width, height)], fill=color)
    return image


def plate(random: Random, *, size: int = 900) -> Image.Image:
    """A dish seen from above."""
    wood = (150, 112, 78)
    image = _gradient(size, size, wood, _blend(wood, (60, 40, 24), 0.5))
    draw = ImageDraw.Draw(image)
    middle = size / 2
    for radius, color in ((0.44, (228, 226, 220)), (0.42, (250, 249, 246)), (0.31, (240, 239, 234))):
        reach = radius * size
        draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=color)
    colors = random.choice(_FOODS)
    for _ in range(60):
        distance, angle = 0.27 * size * math.sqrt(random.random()), random.uniform(0, math.tau)
        x, y = middle + distance * math.cos(angle), middle + distance * math.sin(angle)
        wide, high = random.uniform(0.02, 0.07) * size, random.uniform(0.02, 0.05) * size
        tone = _blend(random.choice(colors), (255, 255, 255), random.uniform(0, 0.25))
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=tone)
    return image.filter(ImageFilter.SMOOTH)


def portrait(random: Random, *, width: int = 800, height: int = 1000) -> Image.Image:
    """Head and shoulders against a wall."""
    wall = random.choice(((176, 196, 208), (208, 196, 176), (186, 204, 180)))
    image = _gradient(width, height, _blend(wall, (255, 255, 255), 0.5), wall)
    draw = ImageDraw.Draw(image)
    skin = random.choice(((244, 208, 178), (198, 150, 112), (120, 82, 58), (228, 184, 146)))
    shirt = random.choice(((52, 74, 110), (122, 50, 58), (60, 96, 80), (70, 70, 78)))
    hair = random.choice(((46, 32, 24), (150, 108, 60), (92, 90, 92), (24, 22, 26)))
    middle = width / 2
    draw.ellipse((width * 0.1, height * 0.68, width * 0.9, height * 1.5), fill=shirt)
    draw.rectangle(
        (middle - 70, height * 0.55, middle + 70, height * 0.74), fill=_blend(skin, (0, 0, 0), 0.12)
    )
    draw.ellipse((middle - 190, height * 0.13, middle + 190, height * 0.56), fill=hair)
    draw.ellipse((middle - 160, height * 0.19, middle + 160, height * 0.63), fill=skin)
    return image.filter(ImageFilter.SMOOTH_MORE)


def scan(random: Random, lines: list[str]) -> Image.Image:
    """A page that lay a little askew on the scanner."""
    image = Image.new("L", (827, 1169), 244)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(20)
    for number, line in enumerate(lines):
        draw.text((90, 110 + 34 * number), line, fill=40, font=font)
    draw.ellipse((560, 960, 720, 1060), outline=90, width=4)
    return image.rotate(random.uniform(-1.2, 1.2), fillcolor=238, resample=Image.Resampling.BILINEAR)


def jpeg(image: Image.Image) -> bytes:
    """As a JPEG file."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=86)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """As a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
