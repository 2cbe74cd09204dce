"""Train a disparity model: train_stereo.py data=DIR output=model.pt [training.loss=depth] [stereo@training=ensemble].

On several GPUs: torchrun --nproc-per-node 8 scripts/train_stereo.py data=DIR output=model.pt training.device=cuda.
"""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("train_stereo")
