"""The errors of one disparity model as a table: by depth, over all pixels, those of cars and those of pedestrians."""

from pseudolidar.stereo import RANGES_M, REGIONS, StereoMetrics, range_name
from pseudolidar.tables import Row, Table

REGION_NAMES = {"all": "all pixels", "car": "cars", "pedestrian": "pedestrians"}
"""Names of the `REGIONS` in tables."""


def disparity_table(metrics: StereoMetrics, name: str) -> Table:
    """Disparity MAE, depth MAE and D1 of a model; regions without a pixel are left out.

    Args:
        metrics: of the model.
        name: what was measured, for the caption.
    """
    counts = metrics.pixels.sum(axis=0)
    columns = (metrics.disparity_mae(), metrics.depth_mae(), metrics.d1())
    rows = []
    for place, region in enumerate(REGIONS):
        if region != "all" and not counts[place].any():
            continue
        for depth, bounds in enumerate(RANGES_M):
            cells = (float(values[place, depth]) for values in columns)
            label = REGION_NAMES[region] if depth == 0 else ""
            rows.append(
                Row((label, range_name(bounds), *cells, int(counts[place, depth])), rule_above=depth == 0 and place > 0)
            )
    return Table(
        f"Errors of the disparity of {name}",
        (("", "depth (m)", "disparity MAE (px)", "depth MAE (m)", "D1 (%)", "pixels"),),
        tuple(rows),
        notes=(
            "Over the pixels whose true disparity is known. The disparity MAE is also called end-point error.",
            "D1: pixels whose disparity is wrong by more than 3 px and more than 5 %, as on KITTI 2015.",
        ),
        digits=3,
    )
