"""Train a 2D detector: python scripts/train_detector2d.py data=DIR output=model.pt.

On several GPUs: torchrun --nproc-per-node 8 scripts/train_detector2d.py data=DIR output=model.pt device=cuda.
"""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("train_detector2d")
