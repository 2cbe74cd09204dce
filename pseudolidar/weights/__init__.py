"""Weights that come with the package, trained on the synthetic town alone: what they are, and their files by name."""

from pseudolidar.weights.files import weights_digest, weights_file
from pseudolidar.weights.town import Provenance, Weights

__all__ = ["Provenance", "Weights", "weights_digest", "weights_file"]
