"""Images inside pages: drawings lose nothing, photographs little that is seen and most of their bytes."""

import base64
import io

import numpy as np
from PIL import Image

from pseudolidar.viewing.embedded import image_url


def _decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/webp;base64,"))))


def test_a_drawing_stays_as_it_is_transparency_included() -> None:
    drawing = np.random.default_rng(0).choice([0, 90, 255], (40, 60, 4)).astype(np.uint8)
    drawing[..., 3] = 255 * (drawing[..., 0] > 0)
    found = np.asarray(_decoded(image_url(Image.fromarray(drawing))))
    shown = drawing[..., 3] > 0
    np.testing.assert_array_equal(found[..., 3], drawing[..., 3])
    np.testing.assert_array_equal(found[shown], drawing[shown])


def test_a_photograph_is_much_smaller_and_looks_the_same() -> None:
    rows, columns = np.mgrid[:120, :160]
    noise = np.random.default_rng(1).normal(0, 3, (120, 160, 3))
    photo = np.stack([rows, columns, rows + columns], axis=2) * 0.8 + 20 + noise
    image = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
    png = io.BytesIO()
    image.save(png, "PNG")
    url = image_url(image)
    assert len(url) < len(png.getvalue()) / 4
    assert np.abs(np.asarray(_decoded(url), float) - np.asarray(image, float)).mean() < 3
    assert image_url(image) == url
