#!/usr/bin/env bash
# All that a GPU has to show, in some twelve minutes: bash scripts/gpu.sh [OUTPUT]. Without a GPU the same in small.
# Needs an environment with the package (README.md); the kernels also need its extra `cuda`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-.venv/bin/python}"
output="${1:-outputs/gpu}"
mkdir -p "$output"

# Each part has a log of its own; one that fails does not stop the others.
part() { # NAME SECONDS COMMAND...
    local name="$1" seconds="$2" began=$SECONDS
    shift 2
    timeout "$seconds" "$@" >"$output/$name.log" 2>&1
    echo "$name: status $?, $((SECONDS - began)) s, $output/$name.log"
}

if "$python" -c "import torch; raise SystemExit(not torch.cuda.is_available())"; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$output/card.txt"
    part tests 140 "$python" -m pytest tests/gpu
    part kernels 120 "$python" scripts/benchmark.py gpu "parts=[point_sets,boxes,clouds,pointrcnn]"
    # WEIGHTS: a trained PSMNet, of which errors in px mean something (published ones: scripts/README.md).
    part stereo 150 "$python" scripts/benchmark.py gpu "parts=[stereo]" ${WEIGHTS:+"weights=$WEIGHTS"}
    part training 200 "$python" scripts/benchmark.py training preset=full frames=60 stereo=psmnet \
        detector=pointrcnn device=cuda precision=bfloat16 "workers=[0,4,8,16]" steps=20
    part pipeline 120 "$python" scripts/benchmark.py pipeline preset=full frames=64 stereo=psmnet \
        detector=pointrcnn device=cuda precision=float16
else
    echo "no GPU: in small on the processor"
    part training 400 "$python" scripts/benchmark.py training frames=8 "workers=[0,1]" steps=2 repetitions=1
    part pipeline 400 "$python" scripts/benchmark.py pipeline frames=6 repetitions=1
fi
