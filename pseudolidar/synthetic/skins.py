"""The skins of vehicles: paint, windows, lamps, plates, wheels, procedural in each vehicle's own frame."""

import math

from pseudolidar.kernels import cpu_kernel
from pseudolidar.synthetic.materials import Shade, colour, grey, mix
from pseudolidar.synthetic.noise import band, fractal, hash_unit, stripes
from pseudolidar.synthetic.things import COLOUR_1, COLOUR_2, SEED, SIZE, STYLE, Row


@cpu_kernel
def _plate(x: float, y: float, seed: float, footprint: float) -> Shade:
    letters = stripes(x + 0.013 * seed, 0.085, 0.0, 0.05, footprint) * band(y, 0.022, 0.09, footprint)
    tone = 0.72 - 0.6 * letters
    return (tone, tone, tone * 0.95, 0.0, 0.1)


@cpu_kernel
def car(
    row: Row, x: float, y: float, z: float, nx: float, ny: float, nz: float, cabin: bool, footprint: float
) -> Shade:
    """A car's skin at object coordinates (m); n: its normal there."""
    length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
    u, up, side = x / length, -y / height, z / width
    soft_u, soft_up, soft_side = footprint / length, footprint / height, footprint / width  # the pixel in these units
    seed = row[SEED]
    dirt = fractal(x, y, z + seed, 1.1, 6, 0.86, footprint)
    flakes = fractal(x, y, z - seed, 9.0, 4, 0.9, footprint)
    grime = row[STYLE + 3] * (1.0 - min(max((up - 0.12) / 0.35, 0.0), 1.0))
    gloss = 0.06 + 0.16 * hash_unit(int(seed), 3, 4)
    paint = colour(row, COLOUR_1, max(0.3, 1.0 + 0.16 * dirt + 0.11 * flakes), gloss, 0.6)
    paint = mix(paint, (0.20, 0.17, 0.13, 0.0, 0.0), min(max(grime * (0.55 + 0.6 * dirt), 0.0), 0.85))
    dark = (0.018, 0.018, 0.020, 0.05, 0.2)
    belt = row[STYLE]
    if cabin:
        roof = 0.93
        if up > roof or up < belt + 0.015:
            if up > roof:
                rail = band(abs(side), row[STYLE + 2] - 0.075, row[STYLE + 2] - 0.045, soft_side)
                return mix(paint, dark, rail * row[STYLE + 4])
            return paint
        edge = (up - belt) / (1.0 - belt)
        # What lies behind the glass: seats, a headrest, the far side's windows; fixed to the car.
        seats = fractal(x, y * 1.4, z * 0.6 + seed, 2.2, 5, 0.85, footprint)
        tone = 0.030 + 0.05 * max(0.0, seats) + 0.02 * flakes
        glass = (tone, tone * 1.02, tone * 1.05, 0.2 + 0.5 * hash_unit(int(seed), 1, 2), 0.5)
        frame = dark
        if abs(nz) > 0.55:  # the sides: pillars
            rear_x = row[STYLE + 5] + (row[STYLE + 7] - row[STYLE + 5]) * edge
            front_x = row[STYLE + 6] + (row[STYLE + 8] - row[STYLE + 6]) * edge
            middle = 0.5 * (rear_x + front_x) + 0.03
            pane = band(u, rear_x + 0.045, middle - 0.012, soft_u) + band(u, middle + 0.012, front_x - 0.05, soft_u)
            third = rear_x + 0.30 * (middle - rear_x)
            pane *= 1.0 - band(u, third - 0.008, third + 0.008, soft_u)
            frame = paint if row[STYLE + 4] < 0.5 else dark
            pane *= band(up, belt + 0.03, roof - 0.03, soft_up)
            return mix(frame, glass, min(pane, 1.0))
        pane = band(abs(side), -1.0, 0.405 - 0.095 * edge, soft_side)
        pane *= band(up, belt + 0.02, roof - 0.012, soft_up)
        wiper = 0.0
        if nx > 0:
            wiper = band(up, belt + 0.03 + 0.12 * abs(side - 0.1), belt + 0.045 + 0.12 * abs(side - 0.1), soft_up)
        return mix(paint, mix(glass, dark, wiper), pane)
    # Wheel arches and the sill.
    for at in (row[STYLE + 9], row[STYLE + 10]):
        reach = math.hypot(x - at * length, y + 0.5 * row[STYLE + 11] * height) / (0.5 * row[STYLE + 11] * height)
        if abs(nz) > 0.35 and reach < 1.3:
            return mix(paint, dark, band(reach, -1.0, 1.17, footprint / (0.25 * height)))
    if ny > 0.6 and up < 0.4:
        return dark
    line = 0.011
    if abs(nz) > 0.6:  # the sides: doors, handles, a rubbing strip
        lines = band(u, -0.015 - line / length, -0.015 + line / length, soft_u)
        for at in (-0.20, 0.20):
            lines = max(lines, band(u + 0.10 * (up - 0.4) * at, at - line / length, at + line / length, soft_u))
        lines *= band(up, 0.20, belt + 0.03, soft_up)
        handle = (band(u, -0.055, -0.02, soft_u) + band(u, -0.185, -0.15, soft_u)) * band(up, 0.545, 0.575, soft_up)
        strip = band(up, 0.36, 0.40, soft_up) * row[STYLE + 4]
        sill = 1.0 - band(up, 0.215, 2.0, soft_up)
        lamp = band(u, 0.445, 0.6, soft_u) * band(up, 0.42, 0.53, soft_up)
        rear = (1.0 - band(u, -0.468, 1.0, soft_u)) * band(up, 0.45, 0.60, soft_up)
        shade = mix(paint, dark, max(0.85 * lines, max(0.8 * strip, 0.7 * max(sill, handle))))
        shade = mix(shade, (0.75, 0.75, 0.72, 0.2, 0.8), lamp)
        return mix(shade, (0.45, 0.02, 0.02, 0.1, 0.5), rear)
    if u > 0.40 and nx > 0.35:  # the front: lamps, grille, number plate
        lamp = band(abs(side), 0.285, 0.45, soft_side) * band(up, 0.42, 0.53, soft_up)
        grille = band(abs(side), -1.0, 0.25, soft_side) * band(up, 0.405, 0.50, soft_up)
        grille = max(grille, band(abs(side), -1.0, 0.34, soft_side) * band(up, 0.19, 0.28, soft_up))
        bars = 0.012 + 0.10 * stripes(y, 0.045, 0.0, 0.012, footprint)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.305, 0.375, soft_up)
        shade = mix(paint, grey(bars, 0.05, 0.3), grille)
        bulb = 0.45 + 0.45 * band(math.hypot(abs(side) - 0.36, (up - 0.475) * 0.8), -1.0, 0.04, soft_side)
        shade = mix(shade, (bulb, bulb, bulb * 0.97, 0.25, 0.8), lamp)
        return mix(shade, _plate(z, -y - 0.305 * height, seed, footprint), plate)
    if u < -0.40 and nx < -0.35:  # the rear
        lamp = band(abs(side), 0.33, 0.47, soft_side) * band(up, 0.44, 0.61, soft_up)
        bumper = band(up, 0.19, 0.30, soft_up)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.40, 0.475, soft_up)
        seam = band(up, 0.37, 0.382, soft_up)
        shade = mix(paint, dark, max(0.75 * bumper, 0.8 * seam))
        red = 0.40 + 0.25 * stripes(y, 0.09, 0.0, 0.045, footprint)
        shade = mix(shade, (red, 0.025, 0.02, 0.12, 0.6), lamp)
        return mix(shade, _plate(z, -y - 0.40 * height, seed, footprint), plate)
    seam = band(abs(side), 0.385, 0.40, soft_side) * (1.0 if u > 0.2 else 0.0)  # the bonnet's edge
    return mix(paint, dark, 0.7 * seam)


@cpu_kernel
def van(row: Row, x: float, y: float, z: float, nx: float, ny: float, nz: float, footprint: float) -> Shade:
    """A van's skin: painted sides, windows at the front (and along the sides of a camper)."""
    length, height, width = row[SIZE], row[SIZE + 1], row[SIZE + 2]
    u, up, side = x / length, -y / height, z / width
    soft_u, soft_up, soft_side = footprint / length, footprint / height, footprint / width  # the pixel in these units
    seed, belt = row[SEED], row[STYLE]
    dirt = fractal(x, y, z + seed, 0.9, 7, 0.86, footprint)
    paint = colour(row, COLOUR_1, max(0.3, 1.0 + 0.14 * dirt), 0.07, 0.5)
    dark = (0.02, 0.02, 0.022, 0.05, 0.2)
    tone = 0.03 + 0.05 * max(0.0, dirt)
    glass = (tone, tone, tone * 1.06, 0.2 + 0.5 * hash_unit(int(seed), 1, 2), 0.5)
    for at in (row[STYLE + 9], row[STYLE + 10]):
        reach = math.hypot(x - at * length, y + 0.5 * row[STYLE + 11] * height) / (0.5 * row[STYLE + 11] * height)
        if abs(nz) > 0.35 and reach < 1.3:
            return mix(paint, dark, band(reach, -1.0, 1.18, footprint / (0.16 * height)))
    if abs(nz) > 0.6:
        front = 0.40 - 0.22 * (up - 0.5)
        pane = band(u, 0.20, front - 0.02, soft_u) * band(up, belt + 0.02, 0.87, soft_up)
        if row[STYLE + 4] > 0.5:
            behind = band(u, -0.44, -0.19, soft_u) + band(u, -0.17, 0.17, soft_u)
            pane = max(pane, behind * band(up, belt + 0.03, 0.87, soft_up))
        lines = band(u, 0.183, 0.189, soft_u) + band(u, -0.183, -0.177, soft_u)
        lines += band(u, 0.36, 0.366, soft_u) * band(up, 0.1, 0.55, 0.01)
        strip = band(up, 0.29, 0.33, soft_up)
        logo = fractal(x * 1.0, y * 2.2, seed, 1.1, 3, 0.6, footprint)
        printed = 1.0 if logo > 0.1 else 0.0
        decal = row[STYLE + 3] * band(u, -0.40, 0.12, soft_u) * band(up, 0.50, 0.80, soft_up) * printed
        paint = mix(paint, colour(row, COLOUR_2, 1.0, 0.03, 0.3), decal)
        return mix(mix(paint, dark, max(0.8 * strip, min(lines, 1.0) * 0.8)), glass, pane)
    if nx > 0.2:
        pane = band(abs(side), -1.0, 0.43, soft_side) * band(up, belt + 0.04, 0.92, soft_up)
        lamp = band(abs(side), 0.30, 0.46, soft_side) * band(up, 0.31, 0.41, soft_up)
        grille = band(abs(side), -1.0, 0.26, soft_side) * band(up, 0.30, 0.40, soft_up)
        bumper = band(up, 0.10, 0.21, soft_up)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.22, 0.27, soft_up)
        shade = mix(mix(paint, dark, max(grille, bumper * 0.9)), (0.7, 0.7, 0.68, 0.25, 0.8), lamp)
        return mix(mix(shade, glass, pane), _plate(z, -y - 0.22 * height, seed, footprint), plate)
    if nx < -0.4:
        pane = (band(side, -0.38, -0.03, soft_side) + band(side, 0.03, 0.38, soft_side)) * band(up, 0.56, 0.86, soft_up)
        lamp = band(abs(side), 0.42, 0.49, soft_side) * band(up, 0.28, 0.52, soft_up)
        seam = band(side, -0.008, 0.008, soft_side)
        bumper = band(up, 0.12, 0.20, soft_up)
        plate = band(abs(z), -1.0, 0.26, footprint) * band(up, 0.30, 0.35, soft_up)
        shade = mix(mix(paint, dark, max(seam, bumper)), (0.5, 0.025, 0.02, 0.1, 0.6), lamp)
        return mix(mix(shade, glass, pane), _plate(z, -y - 0.30 * height, seed, footprint), plate)
    return paint


@cpu_kernel
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
    return mix(rubber, metal, band(reach, -1.0, 0.66, footprint / radius))
