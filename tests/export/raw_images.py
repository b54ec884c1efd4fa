"""A normalisation, and images that went through it."""

import numpy as np

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def normalised(images):
    """(image / 255 - mean) / std, float32."""
    return ((images / 255.0 - np.array(MEAN)) / np.array(STD)).astype("float32")
