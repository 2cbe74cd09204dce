"""Colours of the town's materials, procedural in the frame of each thing, so that both cameras see the same pattern."""

import math

from pseudolidar.kernels import cpu_kernel
from pseudolidar.synthetic.noise import band, fractal, hash_unit, stripes
from pseudolidar.synthetic.things import COLOUR_1, COLOUR_2, COLOUR_3, SEED, SIZE, STYLE, Row

GROUND, PAVEMENT, FACADE, ROOF, BARK, LEAF, PLAIN, CAR_BODY, CAR_CABIN, WHEEL = range(10)
SKIN, HAIR, TOP, TROUSERS, SHOES, BAG, BICYCLE, DARK, SIGN, TRUCK_BOX = range(10, 20)
TRUCK_CAB, HEDGE, HILL, WOOD, LAMP, CONCRETE = range(20, 26)

Shade = tuple[float, float, float, float, float]  # linear red, green, blue; mirror share; gloss


@cpu_kernel
def mix(a: Shade, b: Shade, share: float) -> Shade:
    """a, with share of it painted over by b."""
    keep = 1.0 - share
    return (
        a[0] * keep + b[0] * share,
        a[1] * keep + b[1] * share,
        a[2] * keep + b[2] * share,
        a[3] * keep + b[3] * share,
        a[4] * keep + b[4] * share,
    )


@cpu_kernel
def colour(row: Row, at: int, tone: float, mirror: float, gloss: float) -> Shade:
    """One of a thing's own colours, by its column, lighter or darker by tone."""
    return (row[at] * tone, row[at + 1] * tone, row[at + 2] * tone, mirror, gloss)


@cpu_kernel
def grey(tone: float, mirror: float, gloss: float) -> Shade:
    """A shade with red, green and blue all equal to tone."""
    return (tone, tone, tone, mirror, gloss)


@cpu_kernel
def road(street: Row, s: float, r: float, footprint: float, along: float) -> Shade:
    """The carriageway at street coordinates s (along) and r (to the right of the centre line), m.

    footprint, along: the pixel's width across and along the line of sight, m.
    """
    seed = street[11]
    half_left, half_right = street[4], street[5]
    grain = fractal(s, r, seed, 0.45, 8, 1.0, footprint)
    patch = fractal(s * 0.25, r * 0.8, seed + 9.0, 0.35, 2, 0.7, footprint)
    tone = street[12] * max(1.0 + 0.22 * grain + 0.20 * patch, 0.15)
    # Patches of newer tar, one every few metres.
    cell_s, cell_r = math.floor(s / 7.0), math.floor(r / 3.1)
    pick = hash_unit(int(cell_s), int(cell_r), int(seed))
    if pick < 0.16:
        inside_s, inside_r = s - 7.0 * cell_s, r - 3.1 * cell_r
        inside = band(inside_s, 0.5 + 4 * pick, 3.0 + 20 * pick, footprint)
        inside *= band(inside_r, 0.4, 2.6 - 3 * pick, footprint)
        tone *= 1.0 - 0.38 * inside
    if footprint < 0.05:
        crack = abs(fractal(s * 0.7, r, seed + 40.0, 0.45, 4, 0.6, footprint))
        tone *= 1.0 - 0.45 * max(0.0, 1.0 - crack / 0.035) * (1.0 - footprint / 0.05)
    surface = (tone * 1.02, tone, tone * 0.97, 0.0, 0.05)
    paint = 0.0
    in_crossing = band(s, street[8] - street[9], street[8] + street[9], footprint)
    on_street = (1.0 - in_crossing) * band(r, -half_left, half_right, footprint)
    line = 0.06
    if street[10] > 0:
        paint = max(paint, band(r, -line, line, footprint) * stripes(s, street[10], 0.0, street[10] * 0.4, along))
    if street[13] > 0:  # two lanes a side
        for side in (-1.0, 1.0):
            at = side * street[13]
            paint = max(paint, band(r, at - line, at + line, footprint) * stripes(s, 9.0, 0.0, 3.5, along))
    if street[6] > 0:
        at = -half_left + street[6]
        paint = max(paint, 0.8 * band(r, at - line, at + line, footprint))
        paint = max(paint, 0.8 * band(r, -half_left, at, footprint) * stripes(s, street[15], 0.0, 0.12, along))
    if street[7] > 0:
        at = half_right - street[7]
        paint = max(paint, 0.8 * band(r, at - line, at + line, footprint))
        paint = max(paint, 0.8 * band(r, at, half_right, footprint) * stripes(s, street[15], 0.0, 0.12, along))
    paint *= on_street
    if street[14] > 0:
        for side in (-1.0, 1.0):
            centre = street[8] + side * (street[9] + 2.2)
            zebra = band(s, centre - 1.5, centre + 1.5, along) * stripes(r, 1.0, 0.0, 0.5, footprint)
            zebra *= band(r, -half_left, half_right, footprint)
            paint = max(paint * (1 - band(s, centre - 2.0, centre + 2.0, along)), zebra)
    side_street = in_crossing * (1.0 - band(r, -half_left - 1.0, half_right + 1.0, footprint))
    off = s - street[8]
    paint = max(paint, side_street * band(off, -line, line, along) * stripes(r, 4.5, 0.0, 2.0, footprint))
    shade = surface
    if paint > 0.0:
        worn = 0.75 + 0.35 * fractal(s, r, seed + 3.0, 2.1, 5, 0.7, footprint)
        shade = mix(surface, (0.62, 0.62, 0.60, 0.0, 0.05), paint * min(max(worn, 0.1), 0.95))
    if half_right - 0.35 < r < half_right or -half_left < r < -half_left + 0.35:  # gutter
        gutter = 0.75 + 0.3 * stripes(s, 0.5, 0.02, 0.48, along)
        shade = (shade[0] * gutter, shade[1] * gutter, shade[2] * gutter, 0.0, 0.05)
    # Manhole covers.
    cell = math.floor(s / 13.0)
    hole_s = 13.0 * cell + 6.0 + 4 * hash_unit(int(cell), 3, int(seed))
    hole_r = 3.0 * hash_unit(int(cell), 5, int(seed)) - 1.5
    radius = math.hypot(s - hole_s, r - hole_r)
    if radius < 0.36:
        shade = mix(shade, grey(0.05 + 0.05 * stripes(s + r, 0.12, 0.0, 0.06, footprint), 0.0, 0.2), 0.9)
    return shade


@cpu_kernel
def pavement(street: Row, row: Row, s: float, r: float, footprint: float, along: float) -> Shade:
    """Pavement slabs and what lies behind them; row's colours are the slab and the ground behind."""
    edge = street[5] if r > 0 else street[4]
    inward = abs(r) - edge
    seed = row[SEED]
    width = row[STYLE]
    grain = fractal(s, r, seed, 0.5, 8, 0.95, footprint)
    if inward < 0.16:
        return grey(0.30 * (1 + 0.22 * grain) * (0.55 + 0.45 * stripes(s, 1.0, 0.015, 0.985, along)), 0.0, 0.05)
    if inward < width:
        slab = row[STYLE + 1]
        across, beside = s / slab, r / (slab * 0.8)
        pick = hash_unit(math.floor(across), math.floor(beside), int(seed))
        tone = 1.0 + 0.22 * grain + 0.26 * (pick - 0.5) * max(0.0, 1 - footprint / slab)
        joint = stripes(s, slab, 0.02, slab - 0.02, along) * stripes(r, slab * 0.8, 0.02, slab * 0.8 - 0.02, footprint)
        return colour(row, COLOUR_1, tone * (0.6 + 0.4 * joint), 0.0, 0.05)
    if row[STYLE + 2] > 0.5:  # lawn
        blades = fractal(s, r, seed + 5.0, 0.4, 8, 1.0, footprint)
        tone = max(0.25, 1.0 + 0.26 * blades)
        dry = 0.5 + 0.5 * fractal(s, r, seed + 8.0, 0.12, 3, 0.7, footprint)
        return (row[COLOUR_2] * tone * (0.8 + 0.5 * dry), row[COLOUR_2 + 1] * tone, row[COLOUR_2 + 2] * tone, 0.0, 0.0)
    return colour(row, COLOUR_2, 1.0 + 0.30 * grain, 0.0, 0.03)


@cpu_kernel
def _glass(row: Row, x: float, y: float, seed: float, mirror: float) -> Shade:
    """A window pane: dark, with a hint of curtain, mirroring the sky and the other side of the street."""
    pick = hash_unit(math.floor(x), math.floor(y), int(seed))
    tone = 0.02 + (0.20 * (pick - 0.6) if pick > 0.6 else 0.0)
    return (tone, tone * 1.03, tone * 1.08, mirror, 0.3)


@cpu_kernel
def facade(row: Row, across: float, up: float, depth: float, footprint: float, wide: float) -> Shade:
    """A wall with windows: `across` along the wall, `up` above its foot, `depth` tells the building's walls apart."""
    seed, kind, contrast = row[SEED], row[STYLE + 3], row[STYLE + 5]
    height = row[SIZE + 1]
    grain = fractal(across, up, depth + seed, 0.3, 8, 0.92, wide)
    streaks = fractal(across * 2.0, up * 0.15, depth + seed + 7.0, 0.6, 3, 0.7, wide)
    tone = 1.0 + contrast * (0.20 * grain + 0.16 * streaks)
    wall = colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.02)
    if kind == 1.0:  # bricks
        course = math.floor(up / 0.078)
        shifted = across + 0.12 * (int(course) & 1)
        fade = max(0.0, 1.0 - wide / 0.06)
        pick = hash_unit(math.floor(shifted / 0.245), int(course), int(seed))
        joints = stripes(shifted, 0.245, 0.012, 0.233, wide) * stripes(up, 0.078, 0.012, 0.066, footprint)
        wall = colour(row, COLOUR_1, tone * (1.0 + 0.55 * (pick - 0.5) * fade), 0.0, 0.02)
        wall = mix(grey(0.38, 0.0, 0.02), wall, 0.35 + 0.65 * joints)
    elif kind == 3.0:  # concrete panels
        joints = stripes(across, 3.6, 0.03, 3.57, wide)
        joints *= stripes(up, row[STYLE + 1], 0.03, row[STYLE + 1] - 0.03, footprint)
        pick = hash_unit(math.floor(across / 3.6), math.floor(up / row[STYLE + 1]), int(seed))
        wall = colour(row, COLOUR_1, tone * (0.85 + 0.3 * pick) * (0.55 + 0.45 * joints), 0.0, 0.02)
    period, storey, share = row[STYLE], row[STYLE + 1], row[STYLE + 2]
    shop = row[STYLE + 4]
    if up < storey and shop > 0.0:  # shop windows and doors on the ground floor
        bay = period * 2.0
        number = math.floor(across / bay)
        inside = band(across - bay * number, 0.25, bay - 0.25, wide) * band(up, 0.45, storey - 0.75, footprint)
        door = hash_unit(int(number), 11, int(seed))
        fascia = band(up, storey - 0.65, storey - 0.12, footprint)
        hue = hash_unit(math.floor(number / 2), 23, int(seed))
        if fascia > 0.0:
            letters = fractal(across * 1.5, up * 2.0, seed, 3.0, 3, 0.8, wide)
            tone = 0.55 + (0.5 if letters > 0.15 else 0.0)
            red, green, blue = 0.10 + 0.5 * hue, 0.12 + 0.35 * abs(0.5 - hue), 0.5 - 0.4 * hue
            board = (red * tone, green * tone, blue * tone, 0.0, 0.1)
            wall = mix(wall, board, fascia * 0.9)
        if inside <= 0.0:
            return wall
        goods = 0.06 + 0.16 * max(0.0, fractal(across, up, depth + seed, 1.4, 5, 0.8, wide))
        pane = (goods * (0.6 + hue), goods, goods * (1.4 - hue), 0.34, 0.3)
        if door < 0.3:
            pane = colour(row, COLOUR_3, 0.7 + 0.3 * stripes(across, 0.5, 0.03, 0.47, wide), 0.05, 0.1)
        return mix(wall, pane, inside)
    if up > height - 0.55:  # cornice
        return colour(row, COLOUR_2, tone * (0.8 + 0.25 * stripes(up - height, 0.18, 0.0, 0.1, footprint)), 0.0, 0.02)
    if kind == 4.0:  # a wall without windows
        return wall
    column, level = math.floor(across / period), math.floor(up / storey)
    x, y = across - period * column, up - storey * level
    left, right = period * (0.5 - share / 2), period * (0.5 + share / 2)
    low, high = storey * 0.32, storey * 0.86
    if kind == 2.0:  # curtain of glass
        left, right, low, high = 0.05, period - 0.05, 0.10, storey - 0.10
    inside = band(x, left, right, wide) * band(y, low, high, footprint)
    trim = 0.11
    around = band(x, left - trim, right + trim, wide) * band(y, low - 1.6 * trim, high + trim, footprint)
    mullion = 1.0 - band(x, (left + right) / 2 - 0.035, (left + right) / 2 + 0.035, wide) * 0.9
    transom = 1.0 - band(y, low + (high - low) * 0.68 - 0.03, low + (high - low) * 0.68 + 0.03, footprint) * 0.9
    pane = _glass(row, float(column), float(level) + 31 * depth, seed, 0.75 if kind == 2.0 else 0.42)
    pick = hash_unit(int(column) + 7, int(level), int(seed) + int(depth))
    if kind != 2.0 and pick < 0.35:  # curtains or blinds
        fold = 0.45 + 0.25 * stripes(x, 0.11, 0.0, 0.06, wide)
        drawn = band(y, high - (high - low) * (0.3 + 2 * pick), high, footprint)
        pane = mix(pane, (fold, fold * 0.96, fold * 0.88, 0.12, 0.2), drawn)
    wall = mix(wall, colour(row, COLOUR_2, 0.9 + 0.15 * grain * contrast, 0.0, 0.03), around)
    return mix(wall, mix(colour(row, COLOUR_2, 0.85, 0.0, 0.05), pane, mullion * transom), inside)


@cpu_kernel
def thing(
    row: Row, material: int, x: float, y: float, z: float, nx: float, ny: float, nz: float, footprint: float
) -> Shade:
    """Everything that isn't a vehicle's skin, a facade or the ground, at object coordinates (m)."""
    seed = row[SEED]
    if material == WHEEL:
        return grey(0.02, 0.0, 0.1)
    if TOP <= material <= BAG:
        weave = fractal(x, y, z + seed, 3.0, 6, 0.85, footprint)
        folds = fractal(x, y * 0.35, z + seed, 6.0, 3, 0.8, footprint)
        tone = max(0.3, 1.0 + 0.20 * weave + 0.22 * folds)
        if material == TOP:
            if row[STYLE] > 0.5:  # a striped or a checked top
                mark = stripes(y, 0.13, 0.0, 0.06, footprint)
                return mix(colour(row, COLOUR_1, tone, 0.0, 0.0), colour(row, COLOUR_3, tone, 0.0, 0.0), mark)
            front = 0.5 * band(abs(z), -1.0, 0.012, footprint) * (1.0 if nx > 0.2 else 0.0)
            return colour(row, COLOUR_1, tone * (1.0 - front), 0.0, 0.0)
        if material == TROUSERS:
            return colour(row, COLOUR_2, tone, 0.0, 0.0)
        if material == BAG:
            return colour(row, COLOUR_3, tone, 0.0, 0.05)
        return grey((0.04 if row[STYLE + 1] < 0.7 else 0.5) * tone, 0.0, 0.1)
    if material == SKIN:
        tone = row[STYLE + 2] * (1.0 + 0.1 * fractal(x, y, z + seed, 9.0, 4, 0.8, footprint))
        return (0.62 * tone, 0.38 * tone, 0.27 * tone, 0.0, 0.1)
    if material == HAIR:
        tone = row[STYLE + 3] * (1.0 + 0.35 * fractal(x, y * 0.4, z + seed, 22.0, 3, 0.8, footprint))
        return (0.30 * tone, 0.19 * tone, 0.10 * tone, 0.0, 0.1)
    if material in (LEAF, HEDGE):
        tone = 1.0 + 0.36 * fractal(x, y, z + seed, 1.3, 8, 0.92, footprint)
        gaps = fractal(x, y, z + seed + 60.0, 3.1, 4, 0.85, footprint)
        tone *= 1.0 - 0.6 * min(max(gaps * 1.6, 0.0), 1.0)
        warm = fractal(x, y, z - seed, 0.5, 4, 0.8, footprint)
        tone = max(tone, 0.12)
        return (row[COLOUR_1] * tone * (1 + 0.25 * warm), row[COLOUR_1 + 1] * tone, row[COLOUR_1 + 2] * tone, 0.0, 0.03)
    if material in (BARK, WOOD):
        tone = 1.0 + 0.40 * fractal(x * 1.6, y * 0.35, z * 1.6 + seed, 4.0, 6, 0.85, footprint)
        return colour(row, COLOUR_2, max(tone, 0.2), 0.0, 0.0)
    if material == ROOF:
        tone = 1.0 + 0.18 * fractal(x, y, z + seed, 0.5, 7, 0.85, footprint)
        tiles = 0.65 + 0.35 * stripes(y, 0.22, 0.03, 0.22, footprint)
        return colour(row, COLOUR_3, tone * tiles, 0.0, 0.03)
    if material == HILL:
        tone = 1.0 + 0.30 * fractal(x, y * 2.0, z + seed, 0.05, 8, 0.85, footprint)
        return colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.0)
    if material == SIGN:
        radius = math.hypot(y + row[STYLE], z) / row[STYLE + 1]
        rim = band(radius, 0.78, 2.0, 0.1)
        mark = band(abs(y + row[STYLE]), -1.0, 0.05, footprint) * (1.0 - rim)
        plate = mix(colour(row, COLOUR_3, 1.0, 0.0, 0.1), colour(row, COLOUR_2, 1.0, 0.0, 0.1), rim)
        return mix(plate, grey(0.03, 0, 0), mark)
    if material in (TRUCK_BOX, TRUCK_CAB):
        length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
        dirt = fractal(x, y, z + seed, 0.7, 7, 0.85, footprint)
        up = -y / height
        if material == TRUCK_CAB:
            has_pane = nx > 0.5 or (abs(nz) > 0.5 and x / length > 0.33)
            pane = band(up, 0.46, 0.68, footprint / height) if has_pane else 0.0
            grille = band(up, 0.20, 0.36, footprint / height) * band(abs(z) / width, -1.0, 0.32, 0.01)
            grille = grille if nx > 0.5 else 0.0
            shade = mix(colour(row, COLOUR_1, 1.0 + 0.12 * dirt, 0.06, 0.5), grey(0.03, 0.05, 0.2), grille)
            return mix(shade, (0.04, 0.04, 0.045, 0.3, 0.5), pane)
        ribs = 0.88 + 0.12 * stripes(x, 0.6, 0.03, 0.57, footprint)
        shade = colour(row, COLOUR_2, ribs * (1.0 + 0.14 * dirt), 0.02, 0.2)
        word = fractal(x * 0.8, y * 1.6, seed, 0.9, 3, 0.6, footprint)
        if abs(nz) > 0.5 and word > 0.12 and 0.45 < up < 0.85:
            shade = mix(shade, colour(row, COLOUR_3, 1.0, 0.0, 0.2), 0.9)
        return shade
    if material == BICYCLE:
        return colour(row, COLOUR_3, 1.0, 0.05, 0.4)
    if material == DARK:
        return grey(0.025, 0.0, 0.1)
    if material == LAMP:
        return grey(0.7, 0.0, 0.1)
    if material == CONCRETE:
        tone = 1.0 + 0.24 * fractal(x, y, z + seed, 0.6, 7, 0.85, footprint)
        return colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.02)
    tone = 1.0 + 0.12 * fractal(x, y, z + seed, 1.5, 6, 0.85, footprint)
    return colour(row, COLOUR_1, tone, 0.03, 0.2)
