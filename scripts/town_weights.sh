#!/usr/bin/env bash
# A town of KITTI's size, and the networks of pseudolidar/weights, which see nothing else: some two hours on two cores.
# Each line is a command that goes on where it was killed, so the whole script does too; configs/experiment/town_weights/
# has the settings.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
out=outputs/town_weights

"$python" scripts/make_town.py output=$out/town preset=full train=700 val=60 seed=1
"$python" scripts/train_stereo.py experiment=town_weights/psmnet_first
"$python" scripts/train_stereo.py experiment=town_weights/psmnet
"$python" scripts/train_stereo.py experiment=town_weights/psmnet_depth
"$python" scripts/train_detector2d.py experiment=town_weights/boxes2d

# Detectors learn on what they will stand on: LiDAR sweeps, and clouds of estimated disparity.
"$python" scripts/predict_disparity.py model=$out/psmnet_town.pt data=$out/town split=train output=$out/maps
for cloud in sparse all; do
    "$python" scripts/make_clouds.py disparity=$out/maps calib=$out/town/training/calib cloud=$cloud output=$out/clouds_$cloud
done
for detector in pointrcnn_car pointrcnn_pedestrian frustum_car frustum_pedestrian; do
    "$python" scripts/train_detector.py experiment=town_weights/$detector
done
