"""Rotated boxes as the operations take them: the checks of arguments, and a table of what a point is compared with."""

import torch
from torch import Tensor


def require_boxes(name: str, boxes: Tensor, dimensions: int) -> None:
    """Raise ValueError unless `boxes` are float32 or float64, (N, 7) for two dimensions, (B, M, 7) for three."""
    expected = {2: "(N, 7)", 3: "(B, M, 7)"}[dimensions]
    if boxes.ndim != dimensions or boxes.shape[-1] != 7:
        raise ValueError(f"{name}: found shape {tuple(boxes.shape)}, expected {expected}")
    if boxes.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name}: found {boxes.dtype}, expected float32 or float64")


def require_alike(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError unless two tensors are of one type and on one device."""
    if tensor.dtype != other.dtype:
        raise ValueError(f"{name}: found {tensor.dtype}, expected {other.dtype} as of {other_name}")
    require_same_device(name, tensor, other_name, other)


def require_same_device(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError unless two tensors are on one device."""
    if tensor.device != other.device:
        raise ValueError(f"{name}: found on {tensor.device}, expected on {other.device} as {other_name}")


def box_frames(boxes: Tensor) -> Tensor:
    """What a point is compared with, made once for all backends, so that they agree to the last bit.

    Args:
        boxes: float32 (B, M, 7), x y z h w l ry in the rectified camera frame.

    Returns:
        float32 (B, M, 8): x, y and z of the bottom face's centre, height, half the length, half the width (m), cosine
        and sine of ry; contiguous. Length and width count without their sign; of a box with no volume, or a negative
        height, half the length is -1, which no distance is within.
    """
    x, y, z, height, width, length, ry = boxes.unbind(dim=-1)
    length, width = length.abs(), width.abs()
    solid = (height > 0) & (width > 0) & (length > 0)
    half_length = torch.where(solid, length / 2, -1.0)
    angle = ry.double()
    return torch.stack((x, y, z, height, half_length, width / 2, angle.cos().float(), angle.sin().float()), dim=-1)
