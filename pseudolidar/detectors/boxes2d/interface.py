"""What is known of the 2D detectors' networks without torchvision, which takes long to import."""

from typing import Literal, TypeAlias

from torch import Tensor

Network = Literal["fcos_resnet18", "faster_rcnn_resnet50"]
Target: TypeAlias = dict[str, Tensor]
"""The labels of one image: `boxes` (N, 4) px, `labels` int64 (N,), `ignored_boxes` (K, 4) px, and `ignored_classes`
bool (K, C): the classes for which a detection in an ignored box is neither right nor wrong.
"""

IMAGE_MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet, RGB in 0..1, which torchvision's weights were trained with."""
