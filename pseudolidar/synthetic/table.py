"""The table that the shading kernels read: one row of numbers for each thing in the town."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]

# Columns: position (3), cosine and sine of ry, size l h w (3), three colours (9), seed, style (14).
POSITION, TURN, SIZE, COLOUR_1, COLOUR_2, COLOUR_3, SEED, STYLE = 0, 3, 5, 8, 11, 14, 17, 18
COLUMNS = 32
