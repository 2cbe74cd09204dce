"""Settings of networks so small that they are trained within seconds."""

import dataclasses

from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from tests.conftest import settings_of

PUBLISHED: PointRCNNTraining = settings_of("detector/pointrcnn")

BRIEF: PointRCNNTraining = settings_of(
    "detector/pointrcnn",
    workers=0,
    rpn_steps=4,
    rcnn_steps=4,
    rpn_batch_size=2,
    rcnn_batch_size=3,
    points=256,
    backbone={
        "centres": (32, 8),
        "radii": ((1.0, 2.0), (4.0,)),
        "neighbours": ((4, 4), (4,)),
        "channels": (((8,), (8,)), ((16,),)),
        "propagation": ((16,), (16,)),
        "head": 8,
    },
    rcnn={
        "points": 32, "up": (8,), "centres": (8,), "radii": (0.8,), "neighbours": (4,), "channels": ((8,), (16,)),
        "head": (8, 8),
    },
    training_proposals={"nms_pre": 64, "nms_post": 16},
    proposals={"nms_pre": 64, "nms_post": 16},
    sampling={"rois": 8},
    augmentation={"extra_objects": 2},
    checkpoint_every=2,
    threads=1,
)  # fmt: skip
"""Every part is there, nothing is learnt."""

JOINT = dataclasses.replace(BRIEF, joint=True, rpn_steps=0)

RPN_ALONE = dataclasses.replace(
    BRIEF,
    rpn_steps=700,
    rcnn_steps=1,
    learning_rate=0.02,
    points=512,
    mean_size="training_set",
    backbone=dataclasses.replace(
        BRIEF.backbone,
        centres=(256, 64),
        radii=((0.5, 1.0), (2.0,)),
        neighbours=((8, 16), (16,)),
        channels=(((16, 16), (16, 16)), ((32, 64),)),
        propagation=((64, 32), (64,)),
        head=32,
        dropout=0.0,
    ),
    proposals=dataclasses.replace(BRIEF.proposals, nms_pre=512, nms_post=64),
    augmentation=dataclasses.replace(BRIEF.augmentation, extra_objects=0, rotation_deg=0, scaling=0, flip=False),
    checkpoint_every=100,
)
"""An RPN that learns a few frames by heart."""
