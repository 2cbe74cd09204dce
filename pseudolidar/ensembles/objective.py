"""What an ensemble is trained on: from each member's own loss to that of the ensemble as one model."""

from torch import Tensor


def augmented_loss(individual: Tensor, ensemble: Tensor, beta: float) -> Tensor:
    """(1 - beta) x mean individual loss + beta x ensemble loss (Jeffares et al., NeurIPS 2023, Section 4).

    The same as mean individual loss - beta x diversity.

    Args:
        individual: (M,), each member's loss.
        ensemble: (), the loss of the averaged prediction.
        beta: 0 trains the members independently, 1 jointly.

    Returns:
        (), to be minimised.

    Raises:
        ValueError: beta outside [0, 1], or losses of other shapes.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: found {beta}, expected 0 to 1")
    if individual.ndim != 1 or individual.numel() == 0:
        raise ValueError(f"individual: found shape {tuple(individual.shape)}, expected (M,), one loss a member")
    if ensemble.ndim:
        raise ValueError(f"ensemble: found shape {tuple(ensemble.shape)}, expected a single loss")
    return (1 - beta) * individual.mean() + beta * ensemble
