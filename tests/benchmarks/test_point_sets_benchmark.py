"""The benchmark of point sets: its plain PyTorch computes the same, its tables hold every contender."""

import torch

from pseudolidar.benchmarks.point_sets import plain_ball, plain_nearest, plain_sample, point_set_tables, street_points
from pseudolidar.ops import ball_query, furthest_point_sample, three_nearest


def test_plain_pytorch_computes_the_same() -> None:
    points = street_points(600, seed=0)
    assert points.shape == (1, 600, 3)
    chosen = furthest_point_sample(points, 100)
    assert torch.equal(plain_sample(points, 100), chosen)
    centres = points[:, chosen[0]]
    assert torch.equal(plain_ball(points, centres, 2.0, 8), ball_query(points, centres, 2.0, 8)[0])
    # Rounded otherwise: distances that are all but equal may change places.
    assert (plain_nearest(points, centres) == three_nearest(points, centres)[1]).float().mean() > 0.99


def test_every_table_compares_plain_pytorch_with_ours() -> None:
    tables = point_set_tables(points=400, samples=50, repetitions=1)
    assert len(tables) == 8
    for table in tables:
        names = [row.cells[0] for row in table.rows]
        assert "plain PyTorch" in names[:2] and names[-1] == "pseudolidar"
