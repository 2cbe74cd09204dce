"""The 2D detectors: FCOS on a ResNet-18 for processors, Faster R-CNN on a ResNet-50 for GPUs, both from torchvision."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool, LastLevelP6P7

from pseudolidar.detectors.boxes2d.interface import IMAGE_MEAN, Network, Target
from pseudolidar.files import InputError

MIN_SCORE = 0.05
"""Boxes with lower scores are never reported."""

# With IMAGE_MEAN, statistics of ImageNet.
_IMAGE_DEVIATION = (0.229, 0.224, 0.225)
_STRIDES = (4, 8, 16, 32, 64)
# Channels of the light network's pyramid and head, and layers of the head: a quarter and a half of the published.
_LIGHT_CHANNELS = 64
_LIGHT_HEAD_LAYERS = 2
# From a location to the sides of the box it first predicts, in strides; a level finds objects that reach 4 to 8.
_FIRST_SIDE = 3.0
# A logit whose focal loss is nothing.
_CERTAINLY_NOTHING = -20.0
# Fraction of a proposal or anchor that an ignored box must cover for it to be ignored.
_IGNORED_COVERAGE = 0.5


def detector_network(network: Network, classes: int, frozen_batch_norm: bool) -> "LightFCOS | FasterRCNN":
    """A network with random weights for `classes` classes, background not counted.

    With `frozen_batch_norm` the ResNet's batch norm keeps the statistics of pretrained weights, for small batches.
    """
    if network == "fcos_resnet18":
        return LightFCOS(classes, frozen_batch_norm)
    if network == "faster_rcnn_resnet50":
        return FasterRCNN(classes, frozen_batch_norm)
    raise InputError(f"network: found {network!r}, expected 'fcos_resnet18' or 'faster_rcnn_resnet50'")


class LightFCOS(FCOS):
    """FCOS (Tian et al., ICCV 2019) with a narrow head that starts at stride 4: small images have small objects.

    The ResNet-18 ends with its third stage, whose receptive field is 211 px; two strided convolutions add strides 32
    and 64. Called with a list of images (3, H, W) in 0..1, it returns losses in training (with targets), else for each
    image `boxes`, `labels` and `scores`.
    """

    first_label = 0

    def __init__(self, classes: int, frozen_batch_norm: bool) -> None:
        body = resnet18(weights=None, norm_layer=_norm(frozen_batch_norm))
        anchors = _ExactAnchors(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES))
        super().__init__(
            _pyramid(
                body, (64, 128, 256), _LIGHT_CHANNELS, nn.BatchNorm2d, LastLevelP6P7(_LIGHT_CHANNELS, _LIGHT_CHANNELS)
            ),
            classes,
            anchor_generator=anchors,
            head=_IgnoringFCOSHead(_LIGHT_CHANNELS, 1, classes, _LIGHT_HEAD_LAYERS),
            score_thresh=MIN_SCORE,
        )
        self.transform = _Unresized()
        # A rectifier follows, which starts half dead around 0: boxes begin at the sizes that their level is for.
        nn.init.constant_(self.head.regression_head.bbox_reg.bias, _FIRST_SIDE)


class _IgnoringFCOSHead(FCOSHead):
    """FCOS's head with a classification loss that leaves out ignored boxes."""

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        # Out of mixed precision: losses and boxes want float32.
        return {name: output.float() for name, output in super().forward(x).items()}

    def compute_loss(
        self, targets: list[Target], head_outputs: dict[str, Tensor], anchors: list[Tensor], matched_idxs: list[Tensor]
    ) -> dict[str, Tensor]:
        ignored = torch.stack(
            [
                _ignored_locations((anchor[:, :2] + anchor[:, 2:]) / 2, target) & (matched < 0)[:, None]
                for anchor, target, matched in zip(anchors, targets, matched_idxs, strict=True)
            ]
        )
        logits = head_outputs["cls_logits"].masked_fill(ignored, _CERTAINLY_NOTHING)
        return super().compute_loss(targets, {**head_outputs, "cls_logits": logits}, anchors, matched_idxs)


def _ignored_locations(centres: Tensor, target: Target) -> Tensor:
    """Which locations (L, 2) are ignored for which class: bool (L, C)."""
    boxes, classes = target["ignored_boxes"], target["ignored_classes"]
    inside = ((centres[:, None] >= boxes[None, :, :2]) & (centres[:, None] <= boxes[None, :, 2:])).all(dim=2)
    return (inside[:, :, None] & classes[None]).any(dim=1)


class FasterRCNN(GeneralizedRCNN):
    """Faster R-CNN with a feature pyramid (Ren et al., 2015; Lin et al., 2017), torchvision's `resnet50_fpn`.

    Anchors are three quarters of the published ones, for images of fewer rows. Its softmax over classes cannot ignore a
    box for one class alone: ignored boxes are ignored for all. It is called like `LightFCOS`.
    """

    first_label = 1

    def __init__(self, classes: int, frozen_batch_norm: bool) -> None:
        channels, representation = 256, 1024
        body = resnet50(weights=None, norm_layer=_norm(frozen_batch_norm))
        sizes = tuple((6 * stride,) for stride in _STRIDES)
        anchors = _ExactAnchors(sizes, ((0.5, 1.0, 2.0),) * len(_STRIDES))
        pool = MultiScaleRoIAlign(featmap_names=["0", "1", "2", "3"], output_size=7, sampling_ratio=2)
        super().__init__(
            _pyramid(body, (256, 512, 1024, 2048), channels, None, LastLevelMaxPool()),
            _IgnoringProposals(
                anchors,
                _ExactProposalHead(channels, anchors.num_anchors_per_location()[0]),
                fg_iou_thresh=0.7,
                bg_iou_thresh=0.3,
                batch_size_per_image=256,
                positive_fraction=0.5,
                pre_nms_top_n={"training": 2000, "testing": 1000},
                post_nms_top_n={"training": 2000, "testing": 1000},
                nms_thresh=0.7,
            ),
            _IgnoringRegions(
                pool,
                TwoMLPHead(channels * 7 * 7, representation),
                _ExactPredictor(representation, 1 + classes),
                fg_iou_thresh=0.5,
                bg_iou_thresh=0.5,
                batch_size_per_image=512,
                positive_fraction=0.25,
                bbox_reg_weights=None,
                score_thresh=MIN_SCORE,
                nms_thresh=0.5,
                detections_per_img=100,
            ),
            _Unresized(),
        )


class _IgnoringProposals(RegionProposalNetwork):
    """Anchors in ignored boxes are not background."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & _covered(anchor, target["ignored_boxes"])] = -1
        return labels, boxes


class _IgnoringRegions(RoIHeads):
    """Proposals in ignored boxes are not background."""

    def select_training_samples(self, proposals: list[Tensor], targets: list[Target]) -> Any:
        kept = []
        for proposal, target in zip(proposals, targets, strict=True):
            found = (box_iou(proposal, target["boxes"]) >= self.proposal_matcher.high_threshold).any(dim=1)
            kept.append(proposal[found | ~_covered(proposal, target["ignored_boxes"])])
        return super().select_training_samples(kept, targets)


class _ExactProposalHead(RPNHead):
    """Outputs in float32: boxes in bfloat16 would be off by pixels."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, boxes = super().forward(x)
        return [part.float() for part in objectness], [part.float() for part in boxes]


class _ExactPredictor(FastRCNNPredictor):
    """Class scores and boxes in float32: see `_ExactProposalHead`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = super().forward(x)
        return scores.float(), boxes.float()


class _ExactAnchors(AnchorGenerator):
    """Anchors in float32 for features of any type: bfloat16 would round them to 4 px beyond column 512."""

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        # Only shape, type and device of the features are looked at.
        shapes = [feature.new_zeros((), dtype=torch.float32).expand(feature.shape) for feature in feature_maps]
        return super().forward(image_list, shapes)


class _Unresized(GeneralizedRCNNTransform):
    """Normalises images and pads them to strides, without resizing."""

    def __init__(self) -> None:
        super().__init__(0, 0, list(IMAGE_MEAN), list(_IMAGE_DEVIATION))

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        return image, target


def _covered(boxes: Tensor, ignored: Tensor) -> Tensor:
    """Which of the boxes (N, 4) lie mostly in one of the ignored (K, 4): bool (N,)."""
    corner = torch.maximum(boxes[:, None, :2], ignored[None, :, :2])
    sides = (torch.minimum(boxes[:, None, 2:], ignored[None, :, 2:]) - corner).clamp(min=0)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return (sides.prod(dim=2) > _IGNORED_COVERAGE * area[:, None]).any(dim=1)


def _pyramid(
    body: nn.Module,
    widths: tuple[int, ...],
    channels: int,
    norm_layer: type[nn.Module] | None,
    further_levels: ExtraFPNBlock,
) -> BackboneWithFPN:
    """A pyramid on the first stages of a ResNet; the later ones are dropped."""
    layers = {f"layer{level + 1}": str(level) for level in range(len(widths))}
    return BackboneWithFPN(body, layers, list(widths), channels, further_levels, norm_layer)


def _norm(frozen: bool) -> type[nn.Module]:
    return FrozenBatchNorm2d if frozen else nn.BatchNorm2d
