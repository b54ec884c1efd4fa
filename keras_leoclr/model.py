"""The method: a query encoder, its moving average as key encoder, and a queue of past keys."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_leoclr import losses
from keras_leoclr.backbones.normalization import check_takes_normalised, loading
from keras_leoclr.backbones.pooling import with_pooled_features
from keras_leoclr.checks import number, one_of, whole_number
from keras_leoclr.distribution import canvases, groups, step
from keras_leoclr.encoders import MovingAverage, encoder_pair
from keras_leoclr.key_queue import KeyQueue


@keras.saving.register_keras_serializable("keras_leoclr")
class LeOCLR(keras.Model):
    """Model that learns by contrasting one query view with V key views of an image (arXiv 2403.06813).

    The views decide which method is trained. With the original image as query and two crops as keys it is
    LeOCLR; with one crop as query and one as key it is the baseline MoCo v2 (arXiv 2003.04297). A training
    step does four things:

    1. The key encoder's weights are moved, `k = momentum * k + (1 - momentum) * q`. The moving statistics of
       its BatchNorm layers are not.
    2. The key views are encoded in training mode, without a gradient.
    3. The queries are compared with their keys and with the queue *as it was before the step*, see
       `losses.info_nce`, and the optimizer updates the query encoder.
    4. The new keys replace the oldest keys in the queue.

    `queue_size=0, momentum=0` gives the end-to-end framework: keys are computed with the query encoder's
    weights, and the negatives are the keys of the batch's other images. Keys carry no gradient.

    Training on several devices (`distribution.connect`, `tf.distribute`, `keras.distribution.DataParallel`)
    computes the same as one device with as many `bn_groups`: the loss is the mean over the whole batch, and
    the keys of all devices are gathered, so that every device has the same queue. With `tf.distribute`, make
    backbone and optimizer inside the scope of the strategy. This model uses the strategy of its backbone. It
    may be made inside the scope too, except for several workers, where it must be made outside.

    With the optimizer's `gradient_accumulation_steps=n`, the keys of every batch are enqueued, and the key
    encoder moves when the query encoder's weights have changed, which is every n batches. With loss scaling
    (mixed_float16) it does not move after a step without an update, where a gradient was not finite.

    `fit` reports means over the steps of an epoch, where q and k are unit vectors:

    - `loss` is `sum_v -log(exp(q.k_v/T) / (exp(q.k_v/T) + sum_j exp(q.n_j/T)))`.
    - `positive_similarity` is q.k_v, `negative_similarity` is q.n_j.
    - `contrast_accuracy` is the share of positives with q.k_v > max_j q.n_j.
    - `feature_std` is the standard deviation of q over the batch, averaged over its D entries. It is
      1/sqrt(D) for directions that are spread evenly, and 0 for a collapsed encoder.
    - `loss_to_chance` is `loss / chance_level`. At 1 the model does not tell a key from the negatives.
    - `momentum` is reported where it follows a schedule.

    Args:
        backbone: a Keras model from images (B, H, W, C) to features (B, F), or to feature maps (B, h, w, F),
            which are averaged. The query encoder holds this very model, the key encoder a copy. It takes
            normalised images, see `backbones.without_normalization`.
        projection_dim: D >= 1, the length of queries and keys.
        hidden_dim: width of the head's hidden layer; by default the number of features.
        queue_size: K >= 0, the number of past keys; 0 takes the negatives from the batch.
        momentum: momentum of the key encoder's moving average, in [0, 1], 0.999 by default; or a schedule of
            it by weight updates, such as `schedules.CosineMomentum`.
        temperature: T > 0, temperature of the loss; 0.2 by default.
        bn_groups: G >= 1, number of equal parts of the batch over which BatchNorm takes separate statistics
            in training, as G devices would; 1 by default. If a batch is divided among devices, each device
            divides its own part. The batch size must be divisible by G times the number of devices. With G >
            1 the keys should come in another order than the queries (`permute_keys` of `data.view_dataset`).
        enqueue: "both", the default, to put the keys of all views into the queue; "first" for the keys of the
            first view only. The paper does not say which is meant.
        views: a layer of views such as `LeOCLRViews`. The model then makes the views of each batch itself,
            within the step, on its device, which helps slow hosts. None, the default, if batches hold views.

    Input of `fit` and `evaluate`:
        Batches `{"query": (B, H, W, C), "keys": (B, V, H, W, C)}`. If the key views were permuted,
        `"permutation": (B,)` tells their order: key row i belongs to query `permutation[i]`.
        With `views`, batches may also hold images in [0, 255] and the parameters of their views, `{"image":
        (B, H, W, C), "size": (B, 2), "query_parameters": (B, P), "key_parameters": (B, V, P)}`, see
        `views.sampling.packed_pair`; with a `"permutation"`, key row i is made of image `permutation[i]`.
        `evaluate` runs in inference mode and does not change encoders or queue.
        `predict` takes the same batches, or images (B, H, W, C), and returns queries (B, D).

    Example:
        ```python
        model = LeOCLR(backbones.resnet18((32, 32, 3), stem="cifar"), queue_size=4096)
        model.compile(optimizer=optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4))
        model.fit(dataset_of_views, epochs=200)
        ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        projection_dim: int = 128,
        hidden_dim: int | None = None,
        queue_size: int = 65536,
        momentum: float | LearningRateSchedule = 0.999,
        temperature: float = 0.2,
        bn_groups: int = 1,
        enqueue: str = "both",
        views: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        canvases.check_views(views)
        check_takes_normalised(backbone, "the layer of views")
        whole_number("projection_dim", projection_dim, 1)
        whole_number("hidden_dim", 1 if hidden_dim is None else hidden_dim, 1)
        whole_number("queue_size", queue_size, 0)
        whole_number("bn_groups", bn_groups, 1)
        number("temperature", temperature, 0, above=True)
        one_of("enqueue", enqueue, ("both", "first"))
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim
        self.queue_size, self.enqueue = queue_size, enqueue
        self.temperature, self.bn_groups, self.views = temperature, bn_groups, views
        self._strategy = step.strategy_of(backbone)
        step.check_made_outside(self._strategy)
        with step.scope_of(self._strategy):
            self._build_from(with_pooled_features(backbone), momentum)

    def _build_from(self, backbone, momentum):
        self.backbone = backbone
        pair = encoder_pair(backbone, self.hidden_dim, self.projection_dim)
        self.query_encoder, self.key_encoder, faster_query, faster_key, self._pairs = pair
        # These share the encoders' layers. As attributes they would make Keras save the layers twice.
        self._in_training = lambda encoder: faster_key if encoder is self.key_encoder else faster_query
        self._statistics = groups.KeyStatistics(self.query_encoder, self.bn_groups, self._strategy)
        sizes = self.queue_size, self.projection_dim
        self.key_queue = KeyQueue(*sizes, name="key_queue") if self.queue_size else None
        self._average = MovingAverage(self.query_encoder, self.key_encoder, momentum, self.add_weight)
        names = (*losses.DIAGNOSTICS, *(["momentum"] if self._average.schedule else []))
        self._diagnostics = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @property
    def distribute_strategy(self) -> Any:
        """The tf.distribute strategy that the variables belong to (TensorFlow backend)."""
        return self._strategy or super().distribute_strategy

    def compile(self, optimizer: Any = "rmsprop", loss: None = None, **kwargs: Any) -> None:
        """Compiles the model like `keras.Model.compile`, but without a loss, because the loss is built in.

        `jit_compile="auto"`, the default, means False on CPUs with TensorFlow and with `tf.distribute`; with
        the latter, True raises a ValueError.
        """
        if loss is not None:
            raise ValueError(f"`loss` must be None: the model computes its own. Received: loss={loss}")
        optimizer = keras.optimizers.get(optimizer)
        step.check_optimizer(optimizer, self._strategy)
        kwargs["jit_compile"] = step.jit_compile_of(kwargs.get("jit_compile", "auto"), self._strategy)
        with step.scope_of(self._strategy):
            self._average.follow()
            super().compile(optimizer=optimizer, **kwargs)
            self.optimizer.build(self.trainable_variables)
            self._average.wait_for_updates(self.optimizer)

    def compile_from_config(self, config: dict) -> None:
        """Compiles a model that is loaded from a file."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def trainable_variables(self) -> list:
        """The variables of the query encoder; the key encoder is never trained by the optimizer."""
        return self.query_encoder.trainable_variables

    @property
    def non_trainable_variables(self) -> list:
        """All variables that the optimizer does not change."""
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def momentum(self) -> float:
        """Momentum of the key encoder's moving average; it may be set during the training."""
        return float(ops.convert_to_numpy(self._average.momentum))

    @momentum.setter
    def momentum(self, value: float) -> None:
        self._average.set_momentum(value)

    def chance_level(self, num_key_views: int, batch_size: int | None = None) -> float:
        """Returns V * log(N + 1), the loss of guessing among N negatives; without a queue, B is needed."""
        negatives = losses.negatives_of(self.queue_size, num_key_views, batch_size)
        return losses.chance_level(num_key_views, negatives)

    # === Encoding ===

    def call(self, inputs, training=False):
        images = canvases.query_of(self.views, inputs, self.backbone.compute_dtype)
        return self._encode(self.query_encoder, images, training)

    def _encode(self, encoder, images, training, views=1):
        """Encodes B images of each of `views` views, (B * views, H, W, C), into rows of length 1, float32."""
        if training:
            outputs = groups.outputs_in_training(self._in_training(encoder), images, views * self.bn_groups)
        else:
            outputs = encoder(images, training=False)
        outputs = ops.cast(outputs, "float32")
        # Not ops.normalize: its gradient is NaN for a row of zeros, which occurs if all hidden units are off.
        return outputs * ops.rsqrt(ops.maximum(ops.sum(ops.square(outputs), axis=-1, keepdims=True), 1e-12))

    def _encode_keys(self, views, training):
        """Encodes {"keys": (B, V, H, W, C)}; keys (B, V, D) of all replicas in the order of the queries."""
        encoder, faster = self.key_encoder, self._in_training(self.key_encoder)
        with step.no_gradient():
            keys = groups.keys_of_views(self._encode, encoder, faster, views["keys"], training)
            keys = step.gather(ops.stack(keys, axis=1))
            if training:
                self._statistics.check("permutation" in views)
            if "permutation" in views:
                order = ops.argsort(step.gather(views["permutation"]))
                keys = ops.take(keys, order, axis=0)
        return ops.stop_gradient(keys)

    # === Steps ===

    def train_step(self, *args):
        *state, data = args  # JAX passes its state before the data, and expects it back after the logs
        views = self._views_of(data)
        # The keys are computed before the gradient is recorded, and passed to Keras' own step as labels `y`.
        keys, state = step.run(self, state, self._key_step, views)
        own = step.own_rows(views["query"], keys)
        query = step.after(keys, views["query"])  # the activations of the key encoder are freed before this
        logs, state = step.logs_and_state(super().train_step(*state, (query, own)))
        _, state = step.run(self, state, self._enqueue, keys)
        return step.results_of(logs, state, self._strategy)

    def test_step(self, *args):
        *state, data = args
        views = self._views_of(data)
        keys, state = step.run(self, state, self._encode_keys, views, False)
        own = step.own_rows(views["query"], keys)
        logs, state = step.logs_and_state(super().test_step(*state, (views["query"], own)))
        return step.results_of(logs, state, self._strategy)

    def _views_of(self, data) -> dict:
        batch = keras.utils.unpack_x_y_sample_weight(data)[0]
        return canvases.views_of(self.views, batch, self.backbone.compute_dtype)

    def _key_step(self, views):
        with step.no_gradient():
            self._average.move(self.optimizer.iterations)
        return self._encode_keys(views, training=True)

    def _enqueue(self, keys):
        if self.key_queue is None:
            return
        keys = keys[:, :1] if self.enqueue == "first" else keys
        keys = ops.reshape(ops.transpose(keys, (1, 0, 2)), (-1, self.projection_dim))
        with step.no_gradient():
            self.key_queue.enqueue(keys)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        query, keys = y_pred, y
        if self.key_queue is None:
            everyone = step.gather(keys)
            losses.check_batch_has_negatives(everyone)
            first = step.first_row(keys, everyone)
            contrast = losses.info_nce_in_batch(query, keys, self.temperature, everyone, first)
            mean_negative, batch_size = ops.mean(everyone, axis=(0, 1)), ops.shape(everyone)[0]
        else:
            negatives = ops.stop_gradient(ops.convert_to_tensor(self.key_queue.keys))
            contrast = losses.info_nce(query, keys, negatives, self.temperature)
            mean_negative, batch_size = ops.mean(negatives, axis=0), None
        loss = ops.mean(contrast.loss)
        chance, alone = self.chance_level(keys.shape[1], batch_size), ops.stop_gradient(query)
        values = losses.diagnostics(alone, contrast, mean_negative, loss, chance, batch_size)
        values["momentum"] = ops.convert_to_tensor(self._average.momentum)
        for name, metric in self._diagnostics.items():
            metric.update_state(values[name])
        for penalty in self.query_encoder.losses:
            loss = loss + penalty
        return step.scale_loss(loss)

    # === Config ===

    def load_own_variables(self, store):
        own = self._trainable_variables + self._non_trainable_variables
        super().load_own_variables(self._average.stored(store, own))

    def get_config(self):
        objects = {"backbone": self.backbone, "momentum": self._average.settings, "views": self.views}
        plain = ("projection_dim", "hidden_dim", "queue_size", "temperature", "bn_groups", "enqueue")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in plain},
            **{name: keras.saving.serialize_keras_object(value) for name, value in objects.items()},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("backbone", "momentum", "views"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        with loading():
            return cls(**config)
