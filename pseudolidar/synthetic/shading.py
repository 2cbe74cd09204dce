"""Light and colour at the points that rays hit: sun, shadows, sky, mirrored surroundings, haze."""

import math

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel
from pseudolidar.synthetic import materials, skins
from pseudolidar.synthetic.materials import Shade
from pseudolidar.synthetic.noise import fractal, hash_unit
from pseudolidar.synthetic.things import SIZE, STYLE, Row

# The weather's numbers: direction to the sun (3), colours of sun, zenith and horizon (3 each), clouds, seed, haze.
SUN, SUN_COLOUR, ZENITH, HORIZON, CLOUDS, SKY_SEED, HAZE = 0, 3, 6, 9, 12, 13, 14

Rays = NDArray[np.float32]
Colours = NDArray[np.float32]
Rgb = tuple[float, float, float]


@cpu_kernel
def sky(weather: Row, dx: float, dy: float, dz: float) -> Rgb:
    """The sky's light from direction d (unit, rectified camera frame)."""
    up = max(-dy, 0.0)
    blend = 1.0 - (1.0 - up) ** 3
    red = weather[HORIZON] + (weather[ZENITH] - weather[HORIZON]) * blend
    green = weather[HORIZON + 1] + (weather[ZENITH + 1] - weather[HORIZON + 1]) * blend
    blue = weather[HORIZON + 2] + (weather[ZENITH + 2] - weather[HORIZON + 2]) * blend
    if weather[CLOUDS] > 0:
        stretch = 1.0 / (up + 0.10)
        cover = fractal(dx * stretch, dz * stretch, weather[SKY_SEED], 0.55, 5, 0.55, 0.004)
        share = min(max((cover + weather[CLOUDS] - 0.45) * 1.8, 0.0), 1.0) * 0.85
        white = 0.92 + 0.25 * cover
        red, green, blue = red + (white - red) * share, green + (white - green) * share, blue + (white - blue) * share
    glow = max(dx * weather[SUN] + dy * weather[SUN + 1] + dz * weather[SUN + 2], 0.0) ** 24
    return (
        red + 0.25 * glow * weather[SUN_COLOUR],
        green + 0.25 * glow * weather[SUN_COLOUR + 1],
        blue + 0.25 * glow * weather[SUN_COLOUR + 2],
    )


@cpu_kernel
def mirrored(weather: Row, dx: float, dy: float, dz: float) -> Rgb:
    """Light that a pane or a bonnet mirrors from direction d: the sky above, roofs and walls below."""
    azimuth = math.atan2(dx, dz) * 7.0
    skyline = 0.10 + 0.35 * hash_unit(math.floor(azimuth), 3, int(weather[SKY_SEED]))
    if -dy > skyline:
        return sky(weather, dx, dy, dz)
    tone = 0.10 + 0.18 * hash_unit(math.floor(azimuth), 5, int(weather[SKY_SEED]))
    tone *= 1.0 + 0.6 * fractal(2.0 * azimuth, 14.0 * dy, weather[SKY_SEED], 0.6, 3, 0.7, 0.05)
    if dy > 0.05:
        tone = 0.13
    return (tone * 1.05, tone, tone * 0.93)


@cpu_kernel
def surface_colour(
    table: NDArray[np.float64], street: Row, thing: int, material: int, px: float, py: float, pz: float,
    nx: float, ny: float, nz: float, width: float, facing: float,
) -> Shade:  # fmt: skip
    """The material's colour at a point p with unit normal n (rectified camera frame).

    width: of the pixel at the point's distance (m); facing: cosine between normal and line of sight.
    """
    row = table[thing]
    if material == materials.GROUND or material == materials.PAVEMENT:
        x = street[1] * px - street[2] * pz + street[3]
        z = street[2] * px + street[1] * pz
        if abs(street[0]) < 1e-5:
            s, r = z, x
        else:
            radius = 1.0 / street[0]
            sign = 1.0 if radius > 0 else -1.0
            s = radius * math.atan2(z * sign, (radius - x) * sign)
            r = radius - sign * math.hypot(radius - x, z)
        # Across the line of sight the pixel is `width` wide, along it far longer; the texture keeps a mean of both.
        along = width / max(facing, 0.02)
        mean = width * min(1.0 / math.sqrt(max(facing, 0.02)), 3.0)
        if material == materials.GROUND:
            return materials.road(street, s, r, 0.5 * mean, along)
        return materials.pavement(street, row, s, r, 0.5 * mean, along)
    dx, dy, dz = px - row[0], py - row[1], pz - row[2]
    cos, sin = row[3], row[4]
    lx, lz = cos * dx - sin * dz, sin * dx + cos * dz
    mx, mz = cos * nx - sin * nz, sin * nx + cos * nz
    footprint = width / max(facing, 0.35)
    if material == materials.FACADE:
        wide = width / max(facing, 0.12)
        if abs(mx) > abs(mz):
            return materials.facade(row, lz + 0.5 * row[SIZE + 2], -dy, 1.0 + (mx > 0), width, wide)
        return materials.facade(row, lx + 0.5 * row[SIZE], -dy, 3.0 + (mz > 0), width, wide)
    if material == materials.CAR_BODY or material == materials.CAR_CABIN:
        if row[STYLE + 6] == 0.0:
            return skins.van(row, lx, dy, lz, mx, ny, mz, footprint)
        return skins.car(row, lx, dy, lz, mx, ny, mz, material == materials.CAR_CABIN, footprint)
    if material == materials.WHEEL:
        return skins.wheel(row, lx, dy, mz, footprint)
    return materials.thing(row, material, lx, dy, lz, mx, ny, mz, footprint)


@cpu_kernel
def contact(blockers: NDArray[np.float64], px: float, pz: float) -> float:
    """The share of skylight that reaches the ground at (x, z) past blockers, each (x, z, length, width, ry)."""
    light = 1.0
    for which in range(len(blockers)):
        dx, dz = px - blockers[which, 0], pz - blockers[which, 1]
        length, width = 0.5 * blockers[which, 2], 0.5 * blockers[which, 3]
        reach = length + width + 1.5
        if dx * dx + dz * dz > reach * reach:
            continue
        cos, sin = math.cos(blockers[which, 4]), math.sin(blockers[which, 4])
        out_x = max(abs(cos * dx - sin * dz) - length + 0.1, 0.0)
        out_z = max(abs(sin * dx + cos * dz) - width + 0.1, 0.0)
        spread = 0.16 + 0.22 * width
        light *= 1.0 - 0.72 * math.exp(-math.hypot(out_x, out_z) / spread)
    return light


@cpu_kernel
def surface_normals(
    directions: Rays, prims: NDArray[np.int32], u: Rays, v: Rays, faces: Rays, normals: Rays, sun: Row,
    shading: Rays, toward_sun: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Writes unit shading normals that face the viewer, and whether the surface faces the sun."""
    for ray in range(len(prims)):
        prim = prims[ray]
        if prim < 0:
            toward_sun[ray] = False
            continue
        fx, fy, fz = faces[ray, 0], faces[ray, 1], faces[ray, 2]
        length = math.sqrt(fx * fx + fy * fy + fz * fz) + 1e-20
        fx, fy, fz = fx / length, fy / length, fz / length
        view = fx * directions[ray, 0] + fy * directions[ray, 1] + fz * directions[ray, 2]
        if view > 0:
            fx, fy, fz = -fx, -fy, -fz
        a, b = u[ray], v[ray]
        c = 1.0 - a - b
        nx = c * normals[prim, 0, 0] + a * normals[prim, 1, 0] + b * normals[prim, 2, 0]
        ny = c * normals[prim, 0, 1] + a * normals[prim, 1, 1] + b * normals[prim, 2, 1]
        nz = c * normals[prim, 0, 2] + a * normals[prim, 1, 2] + b * normals[prim, 2, 2]
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20
        if nx * fx + ny * fy + nz * fz < 0:
            length = -length
        nx, ny, nz = nx / length, ny / length, nz / length
        shading[ray, 0], shading[ray, 1], shading[ray, 2] = nx, ny, nz
        faces[ray, 0], faces[ray, 1], faces[ray, 2] = fx, fy, fz
        toward_sun[ray] = (
            nx * sun[0] + ny * sun[1] + nz * sun[2] > 0.0 and fx * sun[0] + fy * sun[1] + fz * sun[2] > 0.0
        )


@cpu_kernel
def shade(
    origin: Row, rig: Row, directions: Rays, distance: Rays, prims: NDArray[np.int32], shading: Rays,
    lit: NDArray[np.bool_], material_of: NDArray[np.int32], thing_of: NDArray[np.int32], table: NDArray[np.float64],
    street: Row, weather: Row, blockers: NDArray[np.float64], focal_px: float, colours: Colours,
) -> None:  # fmt: skip
    """Writes the linear colour, (N, 3), that the camera at origin sees along each ray.

    directions have z = 1, so that distance is depth. rig: the point between the cameras, for which textures choose
    their detail. Panes and paint mirror as seen from the camera itself, and so mislead a matcher, as real ones do.
    """
    for ray in range(len(prims)):
        dx, dy, dz = float(directions[ray, 0]), float(directions[ray, 1]), float(directions[ray, 2])
        norm = math.sqrt(dx * dx + dy * dy + dz * dz)
        prim = prims[ray]
        if prim < 0:
            red, green, blue = sky(weather, dx / norm, dy / norm, dz / norm)
            colours[ray, 0], colours[ray, 1], colours[ray, 2] = red, green, blue
            continue
        depth = float(distance[ray])
        px, py, pz = origin[0] + depth * dx, origin[1] + depth * dy, origin[2] + depth * dz
        nx, ny, nz = float(shading[ray, 0]), float(shading[ray, 1]), float(shading[ray, 2])
        vx, vy, vz = px - rig[0], py - rig[1], pz - rig[2]
        range_m = math.sqrt(vx * vx + vy * vy + vz * vz) + 1e-9
        vx, vy, vz = vx / range_m, vy / range_m, vz / range_m
        facing = abs(nx * vx + ny * vy + nz * vz)
        material = material_of[prim]
        skin = surface_colour(table, street, thing_of[prim], material, px, py, pz, nx, ny, nz, pz / focal_px, facing)
        grounded = material == materials.GROUND or material == materials.PAVEMENT
        open_sky = 0.62 - 0.38 * ny
        if grounded:
            open_sky *= contact(blockers, px, pz)
        else:
            height = table[thing_of[prim], 1] - py
            open_sky *= 0.72 + 0.28 * min(max(height, 0.0) / 1.6, 1.0)
        sun = 0.0
        if lit[ray]:
            sun = max(nx * weather[SUN] + ny * weather[SUN + 1] + nz * weather[SUN + 2], 0.0)
            if material == materials.LEAF or material == materials.HEDGE:
                sun = 0.35 + 0.65 * sun
        bounce = 0.10 * max(ny, 0.0) + 0.05
        ambient_red = 0.46 * (0.5 * weather[ZENITH] + 0.5 * weather[HORIZON]) * open_sky + bounce
        ambient_green = 0.46 * (0.5 * weather[ZENITH + 1] + 0.5 * weather[HORIZON + 1]) * open_sky + bounce
        ambient_blue = 0.46 * (0.5 * weather[ZENITH + 2] + 0.5 * weather[HORIZON + 2]) * open_sky + bounce * 0.9
        red = skin[0] * (ambient_red + sun * weather[SUN_COLOUR])
        green = skin[1] * (ambient_green + sun * weather[SUN_COLOUR + 1])
        blue = skin[2] * (ambient_blue + sun * weather[SUN_COLOUR + 2])
        if skin[3] > 0.0:
            vx, vy, vz = dx / norm, dy / norm, dz / norm
            cosine = nx * vx + ny * vy + nz * vz
            rx, ry, rz = vx - 2 * cosine * nx, vy - 2 * cosine * ny, vz - 2 * cosine * nz
            share = skin[3] + (1.0 - skin[3]) * (1.0 - abs(cosine)) ** 5 * 0.5
            other = mirrored(weather, rx, ry, rz)
            red, green, blue = (
                red * (1 - share) + other[0] * share,
                green * (1 - share) + other[1] * share,
                blue * (1 - share) + other[2] * share,
            )
            if lit[ray] and skin[4] > 0.3:
                shine = max(rx * weather[SUN] + ry * weather[SUN + 1] + rz * weather[SUN + 2], 0.0) ** 60 * skin[4]
                red += 1.5 * shine * weather[SUN_COLOUR]
                green += 1.5 * shine * weather[SUN_COLOUR + 1]
                blue += 1.5 * shine * weather[SUN_COLOUR + 2]
        haze = 1.0 - math.exp(-weather[HAZE] * range_m)
        colours[ray, 0] = red + (weather[HORIZON] * 0.9 - red) * haze
        colours[ray, 1] = green + (weather[HORIZON + 1] * 0.9 - green) * haze
        colours[ray, 2] = blue + (weather[HORIZON + 2] * 0.9 - blue) * haze


@cpu_kernel
def reflectance(
    origin: Row, directions: Rays, distance: Rays, prims: NDArray[np.int32], shading: Rays,
    material_of: NDArray[np.int32], thing_of: NDArray[np.int32], table: NDArray[np.float64], street: Row,
    values: Rays, mirrors: Rays,
) -> None:  # fmt: skip
    """Writes what a laser along each ray (unit directions) gets back, in [0, 1], and the share lost to mirroring."""
    for ray in range(len(prims)):
        prim = prims[ray]
        if prim < 0:
            continue
        range_m = float(distance[ray])
        px = origin[0] + range_m * directions[ray, 0]
        py = origin[1] + range_m * directions[ray, 1]
        pz = origin[2] + range_m * directions[ray, 2]
        nx, ny, nz = float(shading[ray, 0]), float(shading[ray, 1]), float(shading[ray, 2])
        facing = abs(nx * directions[ray, 0] + ny * directions[ray, 1] + nz * directions[ray, 2])
        skin = surface_colour(
            table, street, thing_of[prim], material_of[prim], px, py, pz, nx, ny, nz, 0.012 * range_m, facing
        )
        values[ray] = min(1.0, 0.9 * (skin[0] + skin[1] + skin[2]) / 3.0 * (0.35 + 0.65 * facing))
        mirrors[ray] = skin[3]
