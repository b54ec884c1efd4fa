"""What judges features works where TensorFlow is not installed."""

import subprocess
import sys

import keras
import pytest

CODE = """
import sys
for name in ("tensorflow", "keras_cv", "tensorflow_datasets"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from keras_leoclr import evaluation
from keras_leoclr.evaluation.suite import EVALUATORS
labels = np.repeat([0, 1, 2], 20)
features = (np.eye(3)[labels] + np.random.default_rng(0).normal(0, 0.3, (60, 3))).astype("float32")
sets = (features, labels, features, labels)
for evaluator in (evaluation.KNN(*sets), evaluation.Linear(*sets), evaluation.FewLabels(*sets)):
    assert all(0 <= score.value <= 1 for score in evaluator.run())
several = (features, np.eye(3, dtype="uint8")[labels]) * 2
for evaluator in (evaluation.KNN(*several), evaluation.Linear(*several), evaluation.FewLabels(*several)):
    assert all(score.name.endswith("/map") and 0.5 < score.value <= 1 for score in evaluator.run())
assert evaluation.rankme(features) > 2 and evaluation.uniformity(features) < 0
assert "knn" in EVALUATORS and callable(evaluation.compare) and "keras" not in sys.modules
import keras
images = keras.Input((8, 8, 3))
backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))
batches = [(np.zeros((2, 8, 8, 3), "float32"), np.arange(2))]
assert evaluation.extract_features(backbone, batches)[0].shape == (2, 4)
try:
    evaluation.Quality
except ImportError as error:
    assert "needs TensorFlow" in str(error)
else:
    raise AssertionError("Quality reads images with TensorFlow")
"""


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow is the backend")
def test_features_are_computed_and_judged_without_tensorflow():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
