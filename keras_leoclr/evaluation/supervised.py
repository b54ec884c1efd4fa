"""A classifier on a copy of a backbone, trained on images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.backbones.normalization import check_takes_normalised
from keras_leoclr.backbones.pooling import with_pooled_features
from keras_leoclr.data.pipeline import image_batches
from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source
from keras_leoclr.evaluation.batches import labelled_batches
from keras_leoclr.evaluation.feature_checks import check_finite
from keras_leoclr.evaluation.label_kinds import LabelKind
from keras_leoclr.evaluation.labels import as_labels, kind_of, kind_of_source
from keras_leoclr.optimizers import SGD
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.terminal import Bar


class DivergedError(ValueError):
    """A classifier whose logits are not finite after its training."""


class TwoRatesSGD(SGD):
    """SGD with one learning rate for the head and another, `factor` times as large, for all other variables.

    Args:
        learning_rate: learning rate of the head.
        factor: factor of the learning rate of the other variables, >= 0.
        head: variables of the head.
        **kwargs: other arguments of `SGD`.
    """

    def __init__(self, learning_rate: Any, factor: float, head: list, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.factor = factor
        self.head = {variable.path for variable in head}
        self._head_indices = set()

    def build(self, variables):
        # Variables are told apart by number, because TensorFlow's optimizers get variables without a path.
        self._head_indices = {i for i, variable in enumerate(variables) if variable.path in self.head}
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        own = self._get_variable_index(variable) in self._head_indices
        super().update_step(gradient, variable, learning_rate if own else learning_rate * self.factor)


def classifier_on(backbone: keras.Model, classes: int, frozen: bool, head_std: float, seed: int):
    """Makes a copy of the backbone, and a model of it with a linear head that returns logits.

    A backbone in float16 that is to be trained is copied in float32, because its gradients would be rounded
    to 0 in float16.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        classes: C, number of classes.
        frozen: whether the copy stays in inference mode, BatchNorm included, and is not trained.
        head_std: standard deviation of the head's initial weights.
        seed: seed of these weights.

    Returns:
        The copy, and the classifier (B, S, S, 3) -> (B, C) float32.

    Raises:
        ValueError: if the backbone normalises images itself, since the views already do so.
    """
    check_takes_normalised(backbone, "the view of the training images")
    backbone = with_pooled_features(backbone)
    low = any(layer.compute_dtype == "float16" for layer in backbone._flatten_layers())
    copy = copy_of(backbone, dtype="float32" if low and not frozen else None)
    copy.trainable = not frozen
    images = keras.Input(copy.input_shape[1:])
    features = copy(images, training=False) if frozen else with_fast_kernels(copy)(images)
    head = keras.layers.Dense(
        classes,
        kernel_initializer=keras.initializers.RandomNormal(0.0, head_std, seed=seed),
        dtype="float32",
        name="head",
    )
    return copy, keras.Model(images, head(features))


def train_classifier(
    classifier: keras.Model,
    train: Source | tf.data.Dataset,
    view: Any,
    epochs: int,
    batch_size: int,
    head_rate: float,
    backbone_rate: float,
    milestones: tuple[int, ...],
    gamma: float,
    seed: int,
    verbose: bool,
) -> None:
    """Trains with SGD, momentum 0.9 and no weight decay; rates are multiplied by `gamma` at each milestone.

    The loss is cross-entropy, or the sum of the classes' binary cross-entropies if images have several
    labels.

    Args:
        classifier: a classifier that `classifier_on` made.
        train: source of images and labels.
        view: function that makes the training images, see `labelled_batches`.
        epochs: passes over the images.
        batch_size: images per step, at most as many as there are.
        head_rate: learning rate of the head, > 0.
        backbone_rate: learning rate of the other variables; 0 if the backbone is frozen.
        milestones: epochs, counted from 0, at whose start the rates fall.
        gamma: factor of the rates.
        seed: seed of the order and of the views.
        verbose: whether to show a progress bar.
    """
    batches = labelled_batches(train, view, batch_size, seed, epochs)
    steps = int(batches.cardinality()) // epochs
    schedule = head_rate
    if milestones:
        values = [head_rate * gamma**number for number in range(len(milestones) + 1)]
        boundaries = [epoch * steps - 1 for epoch in milestones]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    head = classifier.get_layer("head").trainable_variables
    optimizer = TwoRatesSGD(schedule, backbone_rate / head_rate, head, momentum=0.9)
    kind = kind_of_source(as_source(train))
    classifier.compile(optimizer=optimizer, loss=kind.keras_loss())
    batches = batches.map(lambda images, labels: (images, tf.cast(labels, kind.target_dtype)))
    with Bar(epochs * steps, "Training of the classifier", "steps", verbose) as bar:
        counted = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.advance())
        classifier.fit(
            batches.repeat(),
            epochs=epochs,
            steps_per_epoch=steps,
            verbose=0,
            shuffle=False,
            callbacks=[counted],
        )


def logits_of(
    classifier: keras.Model, source: Source | tf.data.Dataset, views: Any, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Computes logits (M, C) and labels (M,) or (M, C) of unchanged images.

    Raises:
        DivergedError: if the training diverged.
    """
    logits, labels = [], []
    for images, batch_labels in image_batches(source, views, batch_size):
        logits.append(np.asarray(classifier.predict_on_batch(np.asarray(images)), "float32"))
        labels.append(as_labels(batch_labels))
    logits, labels = np.concatenate(logits), np.concatenate(labels)
    try:
        check_finite("logits", logits)
    except ValueError as error:
        raise DivergedError(
            f"The training of the classifier diverged; try a lower learning rate. {error}"
        ) from error
    return logits, labels


def check_labels(train_labels: np.ndarray, test_labels: np.ndarray) -> tuple[LabelKind, int]:
    """Checks the labels, and returns their kind and the number of classes of both sets.

    Raises:
        ValueError: if a class occurs only in the test set, or there is only one class; with several labels
            per image, if no class has images in both sets.
    """
    kind = kind_of(train_labels, test_labels)
    kind.check_trainable(train_labels, test_labels)
    return kind, kind.classes(train_labels, test_labels)
