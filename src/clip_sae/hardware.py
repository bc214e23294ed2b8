"""What this machine has, as far as planning needs it. Standard library only."""

from glob import glob


def local_gpus() -> int:
    """Number of NVIDIA devices of this machine, seen without importing torch."""
    return len(glob("/dev/nvidia[0-9]*"))
