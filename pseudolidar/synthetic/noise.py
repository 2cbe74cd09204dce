"""Value noise in three dimensions, summed over octaves that a pixel can still resolve."""

import math

from pseudolidar.kernels import cpu_kernel


@cpu_kernel
def hash_unit(a: int, b: int, c: int) -> float:
    """A number in [0, 1) that depends on three integers only."""
    n = (a * 73856093) ^ (b * 19349663) ^ (c * 83492791)
    n = (n ^ (n >> 15)) * 668265263374761393
    return ((n >> 40) & 0xFFFF) * (1.0 / 65536.0)


@cpu_kernel
def value_noise(x: float, y: float, z: float) -> float:
    """Smooth noise in [-1, 1] with a cell of one unit."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    a = hash_unit(i, j, k) * (1 - u) + hash_unit(i + 1, j, k) * u
    b = hash_unit(i, j + 1, k) * (1 - u) + hash_unit(i + 1, j + 1, k) * u
    c = hash_unit(i, j, k + 1) * (1 - u) + hash_unit(i + 1, j, k + 1) * u
    d = hash_unit(i, j + 1, k + 1) * (1 - u) + hash_unit(i + 1, j + 1, k + 1) * u
    return 2 * ((a * (1 - v) + b * v) * (1 - w) + (c * (1 - v) + d * v) * w) - 1


@cpu_kernel
def fractal(x: float, y: float, z: float, frequency: float, octaves: int, gain: float, footprint: float) -> float:
    """Octaves of noise from `frequency` (1/m) up by 2.13 each, weighted by gain; those finer than the pixel fade out.

    footprint: width of the pixel on the surface, m.
    """
    total, weight = 0.0, 1.0
    for octave in range(octaves):
        fade = (0.75 - frequency * footprint) / 0.4
        if fade <= 0.0:
            break
        shift = 17.31 * octave
        sample = value_noise(x * frequency + shift, y * frequency - shift, z * frequency + 0.5 * shift)
        total += weight * min(fade, 1.0) * sample
        weight *= gain
        frequency *= 2.13
    return total


@cpu_kernel
def band(x: float, low: float, high: float, footprint: float) -> float:
    """1 where low < x < high, else 0, with edges as soft as the pixel is wide."""
    width = footprint + 1e-4
    rise = min(max((x - low) / width + 0.5, 0.0), 1.0)
    fall = min(max((high - x) / width + 0.5, 0.0), 1.0)
    return rise * fall


@cpu_kernel
def stripes(x: float, period: float, low: float, high: float, footprint: float) -> float:
    """1 where x modulo period lies between low and high; fades to the mean where a pixel spans the period."""
    share = (high - low) / period
    blend = min(max((footprint / period - 0.35) / 0.4, 0.0), 1.0)
    if blend >= 1.0:
        return share
    offset = x - period * math.floor(x / period)
    value = band(offset, low, high, footprint)
    if low < footprint:
        value = max(value, band(offset - period, low, high, footprint))
    if high > period - footprint:
        value = max(value, band(offset + period, low, high, footprint))
    return value * (1 - blend) + share * blend
