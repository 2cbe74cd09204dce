"""Scenes in a real browser, headless Chromium with SwiftShader: they draw, turn, move, zoom; buttons and keys work."""

import io
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pseudolidar.kitti import Calibration, box3d_corners
from pseudolidar.viewing import Report, Scenes, Section, write_report
from pseudolidar.viewing.colours import THEME, TRUTH, rgb255
from tests.viewing.test_scenes import CAR, make_scene

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'pseudolidar[test]'")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_WITHOUT_WEBGL = "--disable-3d-apis"
DRAWN = 'canvas[aria-busy="false"]'
Picture = NDArray[np.int64]


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts a browser with options beside the usual ones."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        yield lambda *options: playwright.chromium.launch(executable_path=program, args=[*_OPTIONS, *options])


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def path(calibration: Calibration, tmp_path: Path) -> Path:
    scenes = (make_scene(calibration), make_scene(calibration, name="000008"))
    write_report(Report("Scenes", "", (Section("s", (Scenes(scenes, "Two frames."),)),)), tmp_path / "page.html")
    return tmp_path / "page.html"


class View:
    """A page with scenes, opened."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(path.as_uri())
        self.canvas = page.locator("canvas")

    def _note(self, text: str) -> None:
        # What the driver says of a screenshot's own reading of pixels.
        if "GPU stall due to ReadPixels" not in text:
            self.complaints.append(text)

    def picture(self) -> Picture:
        """What the view shows, (H, W, 3), after it was drawn."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        image = Image.open(io.BytesIO(self.canvas.screenshot())).convert("RGB")
        return np.asarray(image).astype(np.int64)

    def press(self, group: str, name: str) -> None:
        row = self.page.locator(f'[role=group][aria-label="{group}"]')
        row.get_by_role("button", name=name, exact=True).click()

    def drag(self, x: int, y: int) -> None:
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(start[0] + x, start[1] + y, steps=4)
        self.page.mouse.up()


@pytest.fixture
def view(browser: Any, path: Path) -> Iterator[View]:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    view = View(page, path)
    page.wait_for_selector(DRAWN)
    yield view
    assert view.complaints == []
    page.close()


def of_colour(picture: Picture, colour: str) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture - rgb255(colour)).max(axis=2) <= 6)


def test_a_scene_is_drawn_with_its_boxes_and_without_complaints(view: View) -> None:
    picture = view.picture()
    ground = of_colour(picture, "#0f1318")
    assert 0.1 < ground.mean() < 0.98, "points before the ground"
    for colour in (TRUTH, THEME["u"][1]):
        assert of_colour(picture, colour).sum() > 100
    assert view.page.locator(".notice").is_hidden()
    assert view.page.locator(".count").inner_text() == "16\u2009000 of the cloud's 53\u2009248 points are drawn."


def test_a_drag_turns_and_the_reset_turns_back(view: View) -> None:
    first = view.picture()
    view.drag(120, 40)
    turned = view.picture()
    assert (np.abs(turned - first).max(axis=2) > 30).mean() > 0.05
    view.press("View", "reset")
    np.testing.assert_array_equal(view.picture(), first)


def test_keys_the_wheel_and_shift_move_zoom_and_turn(view: View) -> None:
    # The wheel scrolls the page until the view is clicked.
    first = view.picture()
    box = view.canvas.bounding_box()
    view.page.mouse.move(box["x"] + 300, box["y"] + 200)
    view.page.mouse.wheel(0, 1)
    np.testing.assert_array_equal(view.picture(), first)
    view.canvas.click()
    shown = [view.picture()]
    view.page.mouse.wheel(0, -400)
    shown.append(view.picture())
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "-"):
        view.page.keyboard.press(key)
        shown.append(view.picture())
    view.page.keyboard.down("Shift")
    view.drag(90, 0)
    view.page.keyboard.up("Shift")
    shown.append(view.picture())
    for before, after in pairwise(shown):
        assert (before != after).any()
    view.page.keyboard.press("0")
    np.testing.assert_array_equal(view.picture(), shown[0])


def test_from_the_camera_a_box_is_where_a_camera_sees_it(view: View) -> None:
    for name in ("u", "u'"):
        view.press("Boxes", name)
    view.press("View", "from the camera")
    picture = view.picture()
    rows, columns = np.nonzero(of_colour(picture, TRUTH))
    corners = box3d_corners(np.array(CAR))[0]
    height, width = picture.shape[:2]
    focal = width / 2 / np.tan(np.radians(81) / 2)
    expected = corners[:, :2] / corners[:, 2:] * focal + np.array([width / 2, height / 2])
    low, high = expected.min(axis=0), expected.max(axis=0)
    found = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose(found, [*low, *high], atol=3)


def test_buttons_show_and_hide_boxes_in_the_view_and_in_the_picture(view: View) -> None:
    overlay = view.page.locator(".stills:not([hidden]) path").first
    assert overlay.is_visible() and of_colour(view.picture(), TRUTH).any()
    view.press("Boxes", "labels")
    assert overlay.is_hidden() and not of_colour(view.picture(), TRUTH).any()
    view.press("Boxes", "labels")
    assert of_colour(view.picture(), TRUTH).any()


def test_clouds_colours_and_frames_are_chosen(view: View) -> None:
    shown = [view.picture()]
    disparity = view.page.locator(".stills:not([hidden]) [data-cloud]")
    assert disparity.is_visible()
    view.press("Cloud", "y")
    assert disparity.is_hidden(), "there is none of y"
    shown.append(view.picture())
    view.press("Colours", "height")
    shown.append(view.picture())
    view.press("View", "from above")
    shown.append(view.picture())
    for before, after in pairwise(shown):
        assert (np.abs(before - after).max(axis=2) > 20).mean() > 0.005
    view.press("Frame", "000008")
    assert view.page.locator(".stills:not([hidden]) img").first.get_attribute("alt") == (
        "Frame 000008: left image with boxes"
    )
    pressed = view.page.locator('button[aria-pressed="true"]').all_inner_texts()
    assert pressed == ["000008", "labels", "u", "u'", "y", "height"], "what was chosen stays"


def test_fingers_turn_and_pinch_and_a_phone_shows_all(browser: Any, path: Path) -> None:
    context = browser.new_context(viewport={"width": 420, "height": 800}, has_touch=True, is_mobile=True)
    view = View(context.new_page(), path)
    view.page.wait_for_selector(DRAWN)
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 420
    view.canvas.scroll_into_view_if_needed()
    box = view.canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    devtools = context.new_cdp_session(view.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": place[0], "y": place[1], "id": number} for number, place in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    first = view.picture()
    touch("touchStart", (x, y))
    touch("touchMove", (x + 60, y + 20))
    touch("touchEnd")
    turned = view.picture()
    assert (np.abs(turned - first).max(axis=2) > 30).mean() > 0.05
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 80, y), (x + 80, y))
    touch("touchEnd")
    near = view.picture()
    assert (np.abs(near - turned).max(axis=2) > 30).mean() > 0.05
    assert view.complaints == []
    context.close()


def test_without_webgl_a_sentence_and_the_pictures(launch: Callable[..., Any], path: Path) -> None:
    browser = launch(_WITHOUT_WEBGL)
    view = View(browser.new_page(), path)
    notice = view.page.locator(".notice")
    assert notice.is_visible() and "no WebGL" in notice.inner_text()
    assert view.canvas.is_hidden()
    view.press("Frame", "000008")
    view.press("Boxes", "labels")
    assert view.page.locator(".stills:not([hidden]) img").first.is_visible()
    assert view.page.locator(".stills:not([hidden]) path").first.is_hidden()
    assert view.complaints == []
    browser.close()


def test_without_scripts_all_pictures_are_there(browser: Any, path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".notice").is_visible()
    assert page.locator(".photo img").count() == 2 and page.locator(".photo img").last.is_visible()
    context.close()
