"""The curves of trainings, finished or under way.

pseudolidar plot_training runs=[u.pt,u2.pt] output=curves.png
"""

from pathlib import Path

from pseudolidar.commands.outputs import training_curves
from pseudolidar.files import InputError
from pseudolidar.viewing import require_figure_path, save_figure, training_figure


def main(*, runs: Path | list[Path], output: Path) -> None:
    """Draw them side by side, say where the picture is."""
    require_figure_path(output)
    checkpoints = [runs] if isinstance(runs, Path) else runs
    if not checkpoints:
        raise InputError("runs: found none, expected one or more checkpoints")
    stems = [checkpoint.stem for checkpoint in checkpoints]
    names = stems if len(set(stems)) == len(stems) else [str(checkpoint) for checkpoint in checkpoints]
    curves = {name: training_curves(checkpoint) for name, checkpoint in zip(names, checkpoints, strict=True)}
    save_figure(training_figure(curves), output)
    print(f"written to {output}")
