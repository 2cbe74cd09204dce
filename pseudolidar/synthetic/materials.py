"""Colours of the town's materials, procedural in the frame of each thing, so that both cameras see the same pattern."""

from __future__ import annotations

import math

from pseudolidar.synthetic.compiled import compiled
from pseudolidar.synthetic.noise import band, fractal, hash_unit, stripes
from pseudolidar.synthetic.table import COLOUR_1, COLOUR_2, COLOUR_3, SEED, SIZE, STYLE, Row

GROUND, PAVEMENT, FACADE, ROOF, BARK, LEAF, PLAIN, CAR_BODY, CAR_CABIN, WHEEL = range(10)
SKIN, HAIR, TOP, TROUSERS, SHOES, BAG, BICYCLE, DARK, SIGN, TRUCK_BOX = range(10, 20)
TRUCK_CAB, HEDGE, HILL, WOOD, LAMP, CONCRETE = range(20, 26)

Shade = tuple[float, float, float, float, float]  # linear red, green, blue; mirror share; gloss


@compiled
def _mix(a: Shade, b: Shade, share: float) -> Shade:
    keep = 1.0 - share
    return (
        a[0] * keep + b[0] * share,
        a[1] * keep + b[1] * share,
        a[2] * keep + b[2] * share,
        a[3] * keep + b[3] * share,
        a[4] * keep + b[4] * share,
    )


@compiled
def _colour(row: Row, at: int, tone: float, mirror: float, gloss: float) -> Shade:
    return (row[at] * tone, row[at + 1] * tone, row[at + 2] * tone, mirror, gloss)


@compiled
def _grey(tone: float, mirror: float, gloss: float) -> Shade:
    return (tone, tone, tone, mirror, gloss)


@compiled
def road(street: Row, s: float, r: float, footprint: float, along: float) -> Shade:
    """The carriageway at street coordinates s (along) and r (to the right of the centre line), m.

    footprint, along: the pixel's width across and along the line of sight, m.
    """
    seed = street[11]
    half_left, half_right = street[4], street[5]
    grain = fractal(s, r, seed, 0.35, 8, 0.84, footprint)
    patch = fractal(s * 0.25, r * 0.8, seed + 9.0, 0.35, 2, 0.7, footprint)
    tone = street[12] * (1.0 + 0.30 * grain + 0.22 * patch)
    # Patches of newer tar, one every few metres.
    cell_s, cell_r = math.floor(s / 7.0), math.floor(r / 3.1)
    pick = hash_unit(int(cell_s), int(cell_r), int(seed))
    if pick < 0.16:
        inside_s, inside_r = s - 7.0 * cell_s, r - 3.1 * cell_r
        inside = band(inside_s, 0.5 + 4 * pick, 3.0 + 20 * pick, footprint) * band(inside_r, 0.4, 2.6 - 3 * pick, footprint)
        tone *= 1.0 - 0.38 * inside
    crack = abs(fractal(s * 0.7, r, seed + 40.0, 0.45, 4, 0.6, footprint))
    if footprint < 0.05:
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
            paint = max(paint * (1 - band(s, centre - 2.0, centre + 2.0, along)), zebra * band(r, -half_left, half_right, footprint))
    side_street = in_crossing * (1.0 - band(r, -half_left - 1.0, half_right + 1.0, footprint))
    off = s - street[8]
    paint = max(paint, side_street * band(off, -line, line, along) * stripes(r, 4.5, 0.0, 2.0, footprint))
    worn = 0.75 + 0.35 * fractal(s, r, seed + 3.0, 2.1, 5, 0.7, footprint)
    shade = _mix(surface, (0.62, 0.62, 0.60, 0.0, 0.05), paint * min(max(worn, 0.1), 0.95))
    if half_right - 0.35 < r < half_right or -half_left < r < -half_left + 0.35:  # gutter
        gutter = 0.75 + 0.3 * stripes(s, 0.5, 0.02, 0.48, along)
        shade = (shade[0] * gutter, shade[1] * gutter, shade[2] * gutter, 0.0, 0.05)
    # Manhole covers.
    cell = math.floor(s / 13.0)
    hole_s, hole_r = 13.0 * cell + 6.0 + 4 * hash_unit(int(cell), 3, int(seed)), 3.0 * hash_unit(int(cell), 5, int(seed)) - 1.5
    radius = math.hypot(s - hole_s, r - hole_r)
    if radius < 0.36:
        shade = _mix(shade, _grey(0.05 + 0.05 * stripes(s + r, 0.12, 0.0, 0.06, footprint), 0.0, 0.2), 0.9)
    return shade


@compiled
def pavement(street: Row, row: Row, s: float, r: float, footprint: float, along: float) -> Shade:
    """Pavement slabs and what lies behind them; row's colours are the slab and the ground behind."""
    edge = street[5] if r > 0 else street[4]
    inward = abs(r) - edge
    seed = row[SEED]
    width = row[STYLE]
    grain = fractal(s, r, seed, 0.4, 8, 0.84, footprint)
    if inward < 0.16:
        return _grey(0.30 * (1 + 0.22 * grain) * (0.55 + 0.45 * stripes(s, 1.0, 0.015, 0.985, along)), 0.0, 0.05)
    if inward < width:
        slab = row[STYLE + 1]
        across, beside = s / slab, r / (slab * 0.8)
        tone = 1.0 + 0.22 * grain
        tone += 0.26 * (hash_unit(int(math.floor(across)), int(math.floor(beside)), int(seed)) - 0.5) * max(0.0, 1 - footprint / slab)
        joint = stripes(s, slab, 0.02, slab - 0.02, along) * stripes(r, slab * 0.8, 0.02, slab * 0.8 - 0.02, footprint)
        return _colour(row, COLOUR_1, tone * (0.6 + 0.4 * joint), 0.0, 0.05)
    if row[STYLE + 2] > 0.5:  # lawn
        blades = fractal(s, r, seed + 5.0, 0.3, 9, 0.88, footprint)
        tone = max(0.25, 1.0 + 0.40 * blades)
        dry = 0.5 + 0.5 * fractal(s, r, seed + 8.0, 0.12, 3, 0.7, footprint)
        return (row[COLOUR_2] * tone * (0.8 + 0.5 * dry), row[COLOUR_2 + 1] * tone, row[COLOUR_2 + 2] * tone, 0.0, 0.0)
    return _colour(row, COLOUR_2, 1.0 + 0.30 * grain, 0.0, 0.03)


@compiled
def _glass(row: Row, x: float, y: float, seed: float, mirror: float) -> Shade:
    """A window pane: dark, with a hint of curtain, mirroring the sky and the other side of the street."""
    pick = hash_unit(int(math.floor(x)), int(math.floor(y)), int(seed))
    tone = 0.02 + (0.20 * (pick - 0.6) if pick > 0.6 else 0.0)
    return (tone, tone * 1.03, tone * 1.08, mirror, 0.3)


@compiled
def facade(row: Row, across: float, up: float, depth: float, footprint: float, wide: float) -> Shade:
    """A wall with windows: `across` along the wall, `up` above its foot, `depth` tells the building's walls apart."""
    seed, kind, contrast = row[SEED], row[STYLE + 3], row[STYLE + 5]
    height = row[SIZE + 1]
    grain = fractal(across, up, depth + seed, 0.25, 8, 0.82, wide)
    streaks = fractal(across * 2.0, up * 0.15, depth + seed + 7.0, 0.6, 3, 0.7, wide)
    tone = 1.0 + contrast * (0.20 * grain + 0.16 * streaks)
    wall = _colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.02)
    if kind == 1.0:  # bricks
        course = math.floor(up / 0.078)
        shifted = across + 0.12 * (int(course) & 1)
        fade = max(0.0, 1.0 - wide / 0.06)
        pick = hash_unit(int(math.floor(shifted / 0.245)), int(course), int(seed))
        joints = stripes(shifted, 0.245, 0.012, 0.233, wide) * stripes(up, 0.078, 0.012, 0.066, footprint)
        wall = _colour(row, COLOUR_1, tone * (1.0 + 0.55 * (pick - 0.5) * fade), 0.0, 0.02)
        wall = _mix(_grey(0.38, 0.0, 0.02), wall, 0.35 + 0.65 * joints)
    elif kind == 3.0:  # concrete panels
        joints = stripes(across, 3.6, 0.03, 3.57, wide) * stripes(up, row[STYLE + 1], 0.03, row[STYLE + 1] - 0.03, footprint)
        pick = hash_unit(int(math.floor(across / 3.6)), int(math.floor(up / row[STYLE + 1])), int(seed))
        wall = _colour(row, COLOUR_1, tone * (0.85 + 0.3 * pick) * (0.55 + 0.45 * joints), 0.0, 0.02)
    period, storey, share = row[STYLE], row[STYLE + 1], row[STYLE + 2]
    shop = row[STYLE + 4]
    if up < storey and shop > 0.0:  # shop windows and doors on the ground floor
        bay = period * 2.0
        number = math.floor(across / bay)
        inside = band(across - bay * number, 0.25, bay - 0.25, wide) * band(up, 0.45, storey - 0.75, footprint)
        door = hash_unit(int(number), 11, int(seed))
        fascia = band(up, storey - 0.65, storey - 0.12, footprint)
        hue = hash_unit(int(math.floor(number / 2)), 23, int(seed))
        letters = fractal(across * 1.5, up * 2.0, seed, 3.0, 3, 0.8, wide)
        sign_tone = 0.55 + (0.5 if letters > 0.15 else 0.0)
        board = (0.10 + 0.5 * hue, 0.12 + 0.35 * abs(0.5 - hue), 0.5 - 0.4 * hue, 0.0, 0.1)
        wall = _mix(wall, (board[0] * sign_tone, board[1] * sign_tone, board[2] * sign_tone, 0.0, 0.1), fascia * 0.9)
        goods = 0.06 + 0.16 * max(0.0, fractal(across, up, depth + seed, 1.4, 5, 0.8, wide))
        pane = (goods * (0.6 + hue), goods, goods * (1.4 - hue), 0.34, 0.3)
        if door < 0.3:
            pane = _colour(row, COLOUR_3, 0.7 + 0.3 * stripes(across, 0.5, 0.03, 0.47, wide), 0.05, 0.1)
        return _mix(wall, pane, inside)
    if up > height - 0.55:  # cornice
        return _colour(row, COLOUR_2, tone * (0.8 + 0.25 * stripes(up - height, 0.18, 0.0, 0.1, footprint)), 0.0, 0.02)
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
        pane = _mix(pane, (fold, fold * 0.96, fold * 0.88, 0.12, 0.2), drawn)
    wall = _mix(wall, _colour(row, COLOUR_2, 0.9 + 0.15 * grain * contrast, 0.0, 0.03), around)
    return _mix(wall, _mix(_colour(row, COLOUR_2, 0.85, 0.0, 0.05), pane, mullion * transom), inside)


@compiled
def _plate(x: float, y: float, seed: float, footprint: float) -> Shade:
    letters = stripes(x + 0.013 * seed, 0.085, 0.0, 0.05, footprint) * band(y, 0.022, 0.09, footprint)
    tone = 0.72 - 0.6 * letters
    return (tone, tone, tone * 0.95, 0.0, 0.1)


@compiled
def car(row: Row, x: float, y: float, z: float, nx: float, ny: float, nz: float, cabin: bool, footprint: float) -> Shade:
    """A car's skin at object coordinates (m); n: its normal there."""
    length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
    u, up, side = x / length, -y / height, z / width
    seed = row[SEED]
    dirt = fractal(x, y, z + seed, 1.1, 6, 0.86, footprint)
    flakes = fractal(x, y, z - seed, 9.0, 4, 0.9, footprint)
    grime = row[STYLE + 3] * (1.0 - min(max((up - 0.12) / 0.35, 0.0), 1.0))
    paint = _colour(row, COLOUR_1, max(0.3, 1.0 + 0.13 * dirt + 0.10 * flakes), 0.10, 0.6)
    paint = _mix(paint, (0.20, 0.17, 0.13, 0.0, 0.0), min(max(grime * (0.55 + 0.6 * dirt), 0.0), 0.85))
    dark = (0.018, 0.018, 0.020, 0.05, 0.2)
    belt = row[STYLE]
    if cabin:
        roof = 0.93
        if up > roof or up < belt + 0.015:
            if up > roof:
                rail = band(abs(side), row[STYLE + 2] - 0.075, row[STYLE + 2] - 0.045, footprint / width)
                return _mix(paint, dark, rail * row[STYLE + 4])
            return paint
        edge = (up - belt) / (1.0 - belt)
        soft = footprint / length
        # What lies behind the glass: seats, a headrest, the far side's windows; fixed to the car.
        seats = fractal(x, y * 1.4, z * 0.6 + seed, 2.2, 5, 0.85, footprint)
        tone = 0.030 + 0.05 * max(0.0, seats) + 0.02 * flakes
        glass = (tone, tone * 1.02, tone * 1.05, 0.30, 0.5)
        frame = dark
        if abs(nz) > 0.55:  # the sides: pillars
            rear_x = row[STYLE + 5] + (row[STYLE + 7] - row[STYLE + 5]) * edge
            front_x = row[STYLE + 6] + (row[STYLE + 8] - row[STYLE + 6]) * edge
            middle = 0.5 * (rear_x + front_x) + 0.03
            pane = band(u, rear_x + 0.045, middle - 0.012, soft) + band(u, middle + 0.012, front_x - 0.05, soft)
            third = rear_x + 0.30 * (middle - rear_x)
            pane *= 1.0 - band(u, third - 0.008, third + 0.008, soft)
            frame = paint if row[STYLE + 4] < 0.5 else dark
            pane *= band(up, belt + 0.03, roof - 0.03, footprint / height)
            return _mix(frame, glass, min(pane, 1.0))
        pane = band(abs(side), -1.0, 0.405 - 0.095 * edge, footprint / width)
        pane *= band(up, belt + 0.02, roof - 0.012, footprint / height)
        wiper = 0.0
        if nx > 0:
            wiper = band(up, belt + 0.03 + 0.12 * abs(side - 0.1), belt + 0.045 + 0.12 * abs(side - 0.1), footprint / height)
        return _mix(paint, _mix(glass, dark, wiper), pane)
    # Wheel arches and the sill.
    for at in (row[STYLE + 9], row[STYLE + 10]):
        reach = math.hypot(x - at * length, y + 0.5 * row[STYLE + 11] * height) / (0.5 * row[STYLE + 11] * height)
        if abs(nz) > 0.35 and reach < 1.3:
            return _mix(paint, dark, band(reach, -1.0, 1.17, footprint / (0.25 * height)))
    if ny > 0.6 and up < 0.4:
        return dark
    line = 0.011
    if abs(nz) > 0.6:  # the sides: doors, handles, a rubbing strip
        lines = band(u, -0.015 - line / length, -0.015 + line / length, footprint / length)
        for at in (-0.20, 0.20):
            lines = max(lines, band(u + 0.10 * (up - 0.4) * at, at - line / length, at + line / length, footprint / length))
        lines *= band(up, 0.20, belt + 0.03, footprint / height)
        handle = (band(u, -0.055, -0.02, footprint / length) + band(u, -0.185, -0.15, footprint / length)) * band(
            up, 0.545, 0.575, footprint / height
        )
        strip = band(up, 0.36, 0.40, footprint / height) * row[STYLE + 4]
        sill = 1.0 - band(up, 0.215, 2.0, footprint / height)
        lamp = band(u, 0.445, 0.6, footprint / length) * band(up, 0.42, 0.53, footprint / height)
        rear = (1.0 - band(u, -0.468, 1.0, footprint / length)) * band(up, 0.45, 0.60, footprint / height)
        shade = _mix(paint, dark, max(0.85 * lines, max(0.8 * strip, 0.7 * max(sill, handle))))
        shade = _mix(shade, (0.75, 0.75, 0.72, 0.2, 0.8), lamp)
        return _mix(shade, (0.45, 0.02, 0.02, 0.1, 0.5), rear)
    if u > 0.40 and nx > 0.35:  # the front: lamps, grille, number plate
        lamp = band(abs(side), 0.285, 0.45, footprint / width) * band(up, 0.42, 0.53, footprint / height)
        grille = band(abs(side), -1.0, 0.25, footprint / width) * band(up, 0.405, 0.50, footprint / height)
        grille = max(grille, band(abs(side), -1.0, 0.34, footprint / width) * band(up, 0.19, 0.28, footprint / height))
        bars = 0.012 + 0.10 * stripes(y, 0.045, 0.0, 0.012, footprint)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.305, 0.375, footprint / height)
        shade = _mix(paint, _grey(bars, 0.05, 0.3), grille)
        bulb = 0.45 + 0.45 * band(math.hypot(abs(side) - 0.36, (up - 0.475) * 0.8), -1.0, 0.04, footprint / width)
        shade = _mix(shade, (bulb, bulb, bulb * 0.97, 0.25, 0.8), lamp)
        return _mix(shade, _plate(z, -y - 0.305 * height, seed, footprint), plate)
    if u < -0.40 and nx < -0.35:  # the rear
        lamp = band(abs(side), 0.33, 0.47, footprint / width) * band(up, 0.44, 0.61, footprint / height)
        bumper = band(up, 0.19, 0.30, footprint / height)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.40, 0.475, footprint / height)
        seam = band(up, 0.37, 0.382, footprint / height)
        shade = _mix(paint, dark, max(0.75 * bumper, 0.8 * seam))
        red = 0.40 + 0.25 * stripes(y, 0.09, 0.0, 0.045, footprint)
        shade = _mix(shade, (red, 0.025, 0.02, 0.12, 0.6), lamp)
        return _mix(shade, _plate(z, -y - 0.40 * height, seed, footprint), plate)
    seam = band(abs(side), 0.385, 0.40, footprint / width) * (1.0 if u > 0.2 else 0.0)  # the bonnet's edge
    return _mix(paint, dark, 0.7 * seam)


@compiled
def van(row: Row, x: float, y: float, z: float, nx: float, ny: float, nz: float, footprint: float) -> Shade:
    """A van's skin: painted sides, windows at the front (and along the sides of a camper)."""
    length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
    u, up, side = x / length, -y / height, z / width
    seed, belt = row[SEED], row[STYLE]
    dirt = fractal(x, y, z + seed, 0.9, 7, 0.86, footprint)
    paint = _colour(row, COLOUR_1, max(0.3, 1.0 + 0.14 * dirt), 0.07, 0.5)
    dark = (0.02, 0.02, 0.022, 0.05, 0.2)
    tone = 0.03 + 0.05 * max(0.0, dirt)
    glass = (tone, tone, tone * 1.06, 0.30, 0.5)
    for at in (row[STYLE + 9], row[STYLE + 10]):
        reach = math.hypot(x - at * length, y + 0.5 * row[STYLE + 11] * height) / (0.5 * row[STYLE + 11] * height)
        if abs(nz) > 0.35 and reach < 1.3:
            return _mix(paint, dark, band(reach, -1.0, 1.18, footprint / (0.16 * height)))
    if abs(nz) > 0.6:
        soft = footprint / length
        front = 0.40 - 0.22 * (up - 0.5)
        pane = band(u, 0.20, front - 0.02, soft) * band(up, belt + 0.02, 0.87, footprint / height)
        if row[STYLE + 4] > 0.5:
            behind = band(u, -0.44, -0.19, soft) + band(u, -0.17, 0.17, soft)
            pane = max(pane, behind * band(up, belt + 0.03, 0.87, footprint / height))
        lines = band(u, 0.183, 0.189, soft) + band(u, -0.183, -0.177, soft) + band(u, 0.36, 0.366, soft) * band(up, 0.1, 0.55, 0.01)
        strip = band(up, 0.29, 0.33, footprint / height)
        logo = fractal(x * 1.0, y * 2.2, seed, 1.1, 3, 0.6, footprint)
        decal = row[STYLE + 3] * band(u, -0.40, 0.12, soft) * band(up, 0.50, 0.80, footprint / height) * (1.0 if logo > 0.1 else 0.0)
        paint = _mix(paint, _colour(row, COLOUR_2, 1.0, 0.03, 0.3), decal)
        return _mix(_mix(paint, dark, max(0.8 * strip, min(lines, 1.0) * 0.8)), glass, pane)
    if nx > 0.2:
        pane = band(abs(side), -1.0, 0.43, footprint / width) * band(up, belt + 0.04, 0.92, footprint / height)
        lamp = band(abs(side), 0.30, 0.46, footprint / width) * band(up, 0.31, 0.41, footprint / height)
        grille = band(abs(side), -1.0, 0.26, footprint / width) * band(up, 0.30, 0.40, footprint / height)
        bumper = band(up, 0.10, 0.21, footprint / height)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.22, 0.27, footprint / height)
        shade = _mix(_mix(paint, dark, max(grille, bumper * 0.9)), (0.7, 0.7, 0.68, 0.25, 0.8), lamp)
        return _mix(_mix(shade, glass, pane), _plate(z, -y - 0.22 * height, seed, footprint), plate)
    if nx < -0.4:
        soft = footprint / width
        pane = (band(side, -0.38, -0.03, soft) + band(side, 0.03, 0.38, soft)) * band(up, 0.56, 0.86, footprint / height)
        lamp = band(abs(side), 0.42, 0.49, soft) * band(up, 0.28, 0.52, footprint / height)
        seam = band(side, -0.008, 0.008, soft)
        bumper = band(up, 0.12, 0.20, footprint / height)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.30, 0.35, footprint / height)
        shade = _mix(_mix(paint, dark, max(seam, bumper)), (0.5, 0.025, 0.02, 0.1, 0.6), lamp)
        return _mix(_mix(shade, glass, pane), _plate(z, -y - 0.30 * height, seed, footprint), plate)
    return paint


@compiled
def thing(
    row: Row, material: int, x: float, y: float, z: float, nx: float, ny: float, nz: float, footprint: float
) -> Shade:
    """Everything that isn't a vehicle's skin, a facade or the ground, at object coordinates (m)."""
    seed = row[SEED]
    if material == WHEEL:
        return _grey(0.02, 0.0, 0.1)
    if TOP <= material <= BAG:
        weave = fractal(x, y, z + seed, 3.0, 6, 0.85, footprint)
        folds = fractal(x, y * 0.35, z + seed, 6.0, 3, 0.8, footprint)
        tone = max(0.3, 1.0 + 0.20 * weave + 0.22 * folds)
        if material == TOP:
            if row[STYLE] > 0.5:  # a striped or a checked top
                mark = stripes(y, 0.13, 0.0, 0.06, footprint)
                return _mix(_colour(row, COLOUR_1, tone, 0.0, 0.0), _colour(row, COLOUR_3, tone, 0.0, 0.0), mark)
            front = 0.5 * band(abs(z), -1.0, 0.012, footprint) * (1.0 if nx > 0.2 else 0.0)
            return _colour(row, COLOUR_1, tone * (1.0 - front), 0.0, 0.0)
        if material == TROUSERS:
            return _colour(row, COLOUR_2, tone, 0.0, 0.0)
        if material == BAG:
            return _colour(row, COLOUR_3, tone, 0.0, 0.05)
        return _grey((0.04 if row[STYLE + 1] < 0.7 else 0.5) * tone, 0.0, 0.1)
    if material == SKIN:
        tone = row[STYLE + 2] * (1.0 + 0.1 * fractal(x, y, z + seed, 9.0, 4, 0.8, footprint))
        return (0.62 * tone, 0.38 * tone, 0.27 * tone, 0.0, 0.1)
    if material == HAIR:
        tone = row[STYLE + 3] * (1.0 + 0.35 * fractal(x, y * 0.4, z + seed, 22.0, 3, 0.8, footprint))
        return (0.30 * tone, 0.19 * tone, 0.10 * tone, 0.0, 0.1)
    if material == LEAF or material == HEDGE:
        tone = 1.0 + 0.34 * fractal(x, y, z + seed, 0.9, 8, 0.9, footprint)
        warm = fractal(x, y, z - seed, 0.5, 4, 0.8, footprint)
        tone = max(tone, 0.12)
        return (row[COLOUR_1] * tone * (1 + 0.25 * warm), row[COLOUR_1 + 1] * tone, row[COLOUR_1 + 2] * tone, 0.0, 0.03)
    if material == BARK or material == WOOD:
        tone = 1.0 + 0.40 * fractal(x * 1.6, y * 0.35, z * 1.6 + seed, 4.0, 6, 0.85, footprint)
        return _colour(row, COLOUR_2, max(tone, 0.2), 0.0, 0.0)
    if material == ROOF:
        tone = 1.0 + 0.18 * fractal(x, y, z + seed, 0.5, 7, 0.85, footprint)
        tiles = 0.65 + 0.35 * stripes(y, 0.22, 0.03, 0.22, footprint)
        return _colour(row, COLOUR_3, tone * tiles, 0.0, 0.03)
    if material == HILL:
        tone = 1.0 + 0.30 * fractal(x, y * 2.0, z + seed, 0.05, 8, 0.85, footprint)
        return _colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.0)
    if material == SIGN:
        radius = math.hypot(y + row[STYLE], z) / row[STYLE + 1]
        rim = band(radius, 0.78, 2.0, 0.1)
        mark = band(abs(y + row[STYLE]), -1.0, 0.05, footprint) * (1.0 - rim)
        return _mix(_mix(_colour(row, COLOUR_3, 1.0, 0.0, 0.1), _colour(row, COLOUR_2, 1.0, 0.0, 0.1), rim), _grey(0.03, 0, 0), mark)
    if material == TRUCK_BOX or material == TRUCK_CAB:
        length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
        dirt = fractal(x, y, z + seed, 0.7, 7, 0.85, footprint)
        up = -y / height
        if material == TRUCK_CAB:
            pane = band(up, 0.46, 0.68, footprint / height) * (1.0 if nx > 0.5 or (abs(nz) > 0.5 and x / length > 0.33) else 0.0)
            grille = band(up, 0.20, 0.36, footprint / height) * (1.0 if nx > 0.5 else 0.0) * band(abs(z) / width, -1.0, 0.32, 0.01)
            shade = _mix(_colour(row, COLOUR_1, 1.0 + 0.12 * dirt, 0.06, 0.5), _grey(0.03, 0.05, 0.2), grille)
            return _mix(shade, (0.04, 0.04, 0.045, 0.3, 0.5), pane)
        ribs = 0.88 + 0.12 * stripes(x, 0.6, 0.03, 0.57, footprint)
        shade = _colour(row, COLOUR_2, ribs * (1.0 + 0.14 * dirt), 0.02, 0.2)
        word = fractal(x * 0.8, y * 1.6, seed, 0.9, 3, 0.6, footprint)
        if abs(nz) > 0.5 and word > 0.12 and 0.45 < up < 0.85:
            shade = _mix(shade, _colour(row, COLOUR_3, 1.0, 0.0, 0.2), 0.9)
        return shade
    if material == BICYCLE:
        return _colour(row, COLOUR_3, 1.0, 0.05, 0.4)
    if material == DARK:
        return _grey(0.025, 0.0, 0.1)
    if material == LAMP:
        return _grey(0.7, 0.0, 0.1)
    if material == CONCRETE:
        tone = 1.0 + 0.24 * fractal(x, y, z + seed, 0.6, 7, 0.85, footprint)
        return _colour(row, COLOUR_1, max(tone, 0.2), 0.0, 0.02)
    tone = 1.0 + 0.12 * fractal(x, y, z + seed, 1.5, 6, 0.85, footprint)
    return _colour(row, COLOUR_1, tone, 0.03, 0.2)


@compiled
def wheel(row: Row, x: float, y: float, nz: float, footprint: float) -> Shade:
    """A wheel: tyre, rim and spokes."""
    radius = 0.5 * row[STYLE + 11] * row[SIZE + 1]
    rubber = (0.022, 0.022, 0.024, 0.0, 0.05)
    if abs(nz) < 0.6:
        return rubber
    at = row[STYLE + 9] if x < 0 else row[STYLE + 10]
    dx, dy = x - at * row[SIZE], y + radius
    reach = math.hypot(dx, dy) / radius
    angle = math.atan2(dy, dx) / (2 * math.pi) * (5.0 + math.floor(3 * row[STYLE + 1]))
    gap = stripes(angle, 1.0, 0.0, 0.42, footprint / radius) * band(reach, 0.18, 0.58, footprint / radius)
    metal = (0.42 * (1 - 0.85 * gap), 0.42 * (1 - 0.85 * gap), 0.44 * (1 - 0.85 * gap), 0.08, 0.6)
    return _mix(rubber, metal, band(reach, -1.0, 0.66, footprint / radius))
