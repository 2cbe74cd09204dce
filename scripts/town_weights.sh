#!/usr/bin/env bash
# A town of KITTI's size, and the networks of pseudolidar/weights, which see nothing else: some two hours on two cores.
# Each line is a command that goes on where it was killed, so the whole script does too; configs/experiment/town_weights/
# has the settings.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
out=outputs/town_weights

"$python" -m pseudolidar make_town output=$out/town preset=full train=700 val=60 seed=1
"$python" -m pseudolidar train_stereo experiment=town_weights/psmnet_first
"$python" -m pseudolidar train_stereo experiment=town_weights/psmnet
"$python" -m pseudolidar train_stereo experiment=town_weights/psmnet_depth
"$python" -m pseudolidar train_detector2d experiment=town_weights/boxes2d

# Detectors learn on what they will stand on: LiDAR sweeps, and clouds of estimated disparity.
"$python" -m pseudolidar predict_disparity model=$out/psmnet_town.pt data=$out/town split=train output=$out/maps
for cloud in sparse all; do
    "$python" -m pseudolidar make_clouds disparity=$out/maps calib=$out/town/training/calib cloud=$cloud output=$out/clouds_$cloud
done
for detector in pointrcnn_car pointrcnn_pedestrian frustum_car frustum_pedestrian; do
    "$python" -m pseudolidar train_detector experiment=town_weights/$detector
done
