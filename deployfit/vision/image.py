"""Images as people name them: `1920x1080`, `12MP`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isqrt

from deployfit.errors import InputError, quoted
from deployfit.parameters import param
from deployfit.values import NamedTuple

PHOTO = (4, 3)  # the shape of an image of which only the megapixels are known: most cameras'

# llama.cpp reads images with stb_image, which wants three bytes a pixel in 31 bits, and no longer side than this. No
# other reader here takes larger ones.
MOST_PIXELS = (2**31 - 1) // 3
LONGEST_SIDE = 2**24

_SIZE = re.compile(r"([0-9]{1,9})\s*[xX\u00d7]\s*([0-9]{1,9})", re.ASCII)
_MEGAPIXELS = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?\s*mp", re.ASCII | re.IGNORECASE)


class Image(NamedTuple):
    """An image as it is given to a model, in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height

    @property
    def text(self) -> str:
        """As people type it."""
        return f"{self.width}x{self.height}"


def images_of(texts: Iterable[str]) -> tuple[Image, ...]:
    """Return the images that were typed, by their sizes or by megapixels; raise InputError for what is none.

    >>> images_of(["1920x1080", "12MP"])
    (Image(width=1920, height=1080), Image(width=4000, height=3000))
    >>> images_of(["0x1080"])
    Traceback (most recent call last):
    deployfit.errors.InputError: image: '0x1080' has no pixels; give a size such as 1920x1080 or 12MP
    >>> images_of(["50000x20000"])
    Traceback (most recent call last):
    deployfit.errors.InputError: image: '50000x20000' has 1,000,000,000 pixels; engines read at most 715,827,882
    """
    return tuple(map(_image, texts))


def _image(text: str) -> Image:
    stripped = text.strip()
    size, megapixels = _SIZE.fullmatch(stripped), _MEGAPIXELS.fullmatch(stripped)
    if size:
        image = Image(int(size[1]), int(size[2]))
    elif megapixels:
        image = _photo(int(megapixels[1] + (megapixels[2] or "").ljust(6, "0")))
    else:
        raise InputError(f"{param('image')}: expected a size such as 1920x1080 or 12MP, got {quoted(text)}")
    if not image.pixels:
        raise InputError(f"{param('image')}: {quoted(text)} has no pixels; give a size such as 1920x1080 or 12MP")
    if image.pixels > MOST_PIXELS:
        raise InputError(
            f"{param('image')}: {quoted(text)} has {image.pixels:,} pixels; engines read at most {MOST_PIXELS:,}"
        )
    if max(image) > LONGEST_SIDE:
        raise InputError(
            f"{param('image')}: {quoted(text)} has a side of {max(image):,} pixels;"
            f" engines read at most {LONGEST_SIDE:,}"
        )
    return image


def _photo(pixels: int) -> Image:
    """Return a photograph of about so many pixels; one of 12 megapixels has 4000x3000."""
    wide, high = PHOTO
    unit = max(min(pixels, 1), isqrt(pixels * 4 // (wide * high)))  # twice the length of which the sides are multiples
    return Image((unit * wide + 1) // 2, (unit * high + 1) // 2)
