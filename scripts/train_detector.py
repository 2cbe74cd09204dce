"""Train a detector: train_detector.py data=DIR clouds=DIR class_name=Car output=model.pt [detector@training=...].

On several GPUs: torchrun --nproc-per-node 8 scripts/train_detector.py ... device=cuda.
"""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("train_detector")
