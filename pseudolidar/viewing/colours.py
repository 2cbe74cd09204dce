"""Colours that every picture shares, safe for colour-blind readers, for light and for dark pages."""

from collections.abc import Iterable

from matplotlib.colors import LinearSegmentedColormap, to_rgb

THEME = {
    "ink": ("#1d2129", "#e8eaed"),
    "muted": ("#5d6570", "#a2abb6"),
    "rule": ("#d8dce1", "#363c45"),
    "paper": ("#fefefe", "#14171b"),
    "y": ("#4a4f57", "#b9c0c8"),
    "u": ("#d55e00", "#f28c3f"),
    "u-prime": ("#0072b2", "#58b0e8"),
    "third": ("#b0578d", "#dd8fbb"),
    "fourth": ("#00846a", "#2fc39c"),
    "fifth": ("#9a7500", "#e3b62b"),
}
"""Name -> colour on a light and on a dark page. Vector pictures hold the light one, and a report's style sheet
swaps it for the other by its name, so no two names may share a light colour."""

INK, MUTED, RULE, PAPER = (THEME[name][0] for name in ("ink", "muted", "rule", "paper"))

TRUTH = "#2fe0a0"
"""Boxes of the ground truth, on photographs and on dark clouds."""
DETECTION = "#ff5fb0"
"""Detected boxes."""
HEIGHTS = LinearSegmentedColormap.from_list("heights", ["#38577f", "#5a8aba", "#a2c6e2", "#f6fafc"])
"""Heights of points on a dark ground, low to high: blues, so that neither kind of box gets lost in them."""
CLASS_COLOURS = {"Car": "#ffb000", "Pedestrian": "#ff4f9a", "Cyclist": "#78a5ff"}
"""Detected boxes where several classes share a picture: amber, magenta, blue, which stay apart for the colour-blind."""
OTHER_CLASS = "#ffffff"
"""Detected boxes of all other classes."""
GREY_HEIGHTS = LinearSegmentedColormap.from_list("grey heights", ["#48525d", "#7c8792", "#b4bcc4", "#eef1f4"])
"""Heights of points on a dark ground where boxes have the colours of their classes."""
UNKNOWN_RGB = (56, 56, 56)
"""Pixels without a disparity: a dark grey that the disparity colours don't contain."""

_SOURCES = {
    "y": "y",
    "exact": "y",
    "lidar": "y",
    "u": "u",
    "u'": "u-prime",
    "u′": "u-prime",
    "u’": "u-prime",
    "u_prime": "u-prime",
}
_SPARE = ("third", "fourth", "fifth")


def source_colours(names: Iterable[str], dark: bool = False) -> dict[str, str]:
    """ "#rrggbb" for each source of disparity or points: y grey, u orange, u' blue, others from the spare colours.

    The first word of a name decides: "u (depth MAE)" is u. `dark`: on a dark ground.
    """
    colours: dict[str, str] = {}
    spare = 0
    for name in names:
        key = _SOURCES.get((name.split() or [""])[0].lower())
        if key is None:
            key = _SPARE[spare % len(_SPARE)]
            spare += 1
        colours[name] = THEME[key][int(dark)]
    return colours


def source_lines(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour (`source_colours`) and line style of each source's curve; where colours run out, later ones are dashed."""
    lines: dict[str, dict[str, str]] = {}
    drawn: set[str] = set()
    for name, colour in source_colours(names).items():
        lines[name] = {"color": colour, "linestyle": "--" if colour in drawn else "-"}
        drawn.add(colour)
    return lines


def rgb255(colour: str) -> tuple[int, int, int]:
    """A colour's name or "#rrggbb" as three values of 0 to 255."""
    red, green, blue = (round(255 * channel) for channel in to_rgb(colour))
    return red, green, blue
