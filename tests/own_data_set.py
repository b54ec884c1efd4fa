"""A small data set of TensorFlow Datasets."""

import numpy as np
import tensorflow_datasets as tfds


class Own(tfds.core.GeneratorBasedBuilder):
    """JPEGs of varying size."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE = (None, None, 3)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=self.SHAPE),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "text": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        splits = {"train": self._generate_examples(0), "test": self._generate_examples(20)}
        return splits | {"unlabelled": self._generate_examples(40, labelled=False)}

    def _generate_examples(self, first, labelled=True):
        for number in range(first, first + 20):
            pixels = np.full((3 + number % 3, 4, 3), number, np.uint8)
            label = number % 2 if labelled else -1
            yield number, {"image": pixels, "label": label, "text": "of no interest"}


def prepare(folder, file_format):
    """Writes the data set; `load("tfds:own", data_dir=folder)` reads it."""
    Own(data_dir=folder, file_format=file_format).download_and_prepare()
    return folder
