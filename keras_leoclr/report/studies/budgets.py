"""The number of epochs in which LeOCLR computes as much as MoCo v2 does in others."""

from __future__ import annotations


def epochs_of_equal_compute(epochs: int, num_crops: int) -> int:
    """Number of epochs of LeOCLR that cost as much as those of MoCo v2.

    Args:
        epochs: number of epochs of MoCo v2.
        num_crops: number of crops of LeOCLR, each of which is a key.
    """
    # A step encodes one view forward and backward, which costs about three forward passes, and V views
    # forward.
    return max(1, round(epochs * (3 + 1) / (3 + num_crops)))
