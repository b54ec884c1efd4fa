"""Data sets with several labels per picture, in the formats that people have them in."""

import numpy as np
import tensorflow_datasets as tfds

NAMES = ("cat", "dog", "bird")
# Numbers of the classes of each picture; some occur twice, as several things of a class do.
THINGS = [[0, 2], [1], [], [0, 1, 2, 0], [1, 2, 2], [0], [2, 1], [0, 0]]


def rows(things=THINGS):
    """Numbers of classes as rows of zeros and ones."""
    made = np.zeros((len(things), len(NAMES)), np.uint8)
    for row, numbers in zip(made, things, strict=True):
        row[numbers] = 1
    return made


class Scenes(tfds.core.GeneratorBasedBuilder):
    """Pictures of the colour of their number, as voc/2007 and coco/2017 describe what is on them."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("voc", "coco", "rows", "numbers")]

    def _info(self):
        classes = tfds.features.ClassLabel(names=list(NAMES))
        objects = {"bbox": tfds.features.BBoxFeature(), "label": classes}
        kinds = {
            "voc": {"labels": tfds.features.Sequence(classes), "objects": tfds.features.Sequence(objects)},
            "coco": {"objects": tfds.features.Sequence(objects)},
            "rows": {"labels": tfds.features.Tensor(shape=(3,), dtype=np.int64)},
            "numbers": {"labels": tfds.features.Sequence(np.int64)},
        }
        features = {"image": tfds.features.Image(shape=(None, None, 3))} | kinds[self.builder_config.name]
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(THINGS), "test": self._generate_examples([[]] * 3)}

    def _generate_examples(self, things):
        for number, found in enumerate(things):
            objects = [{"bbox": tfds.features.BBox(0.0, 0.0, 0.5, 0.5), "label": label} for label in found]
            labels = (
                rows([found])[0].astype("int64") if self.builder_config.name == "rows" else sorted(set(found))
            )
            element = {"labels": labels, "objects": objects}
            features = self.info.features
            pixels = np.full((3 + number % 3, 4, 3), number, np.uint8)
            yield number, {"image": pixels} | {key: element[key] for key in features if key != "image"}


def prepare(folder, kind, file_format):
    """Writes the data set; `load("tfds:scenes/KIND", data_dir=folder)` reads it."""
    Scenes(config=kind, data_dir=folder, file_format=file_format).download_and_prepare()
    return folder
