"""The method: a query encoder, its moving average as key encoder, and a queue of past keys."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_leoclr import distribution, losses
from keras_leoclr.backbones.copying import copy_of, copy_weights
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.backbones.normalization import check_takes_normalised
from keras_leoclr.checks import whole_number
from keras_leoclr.heads import projection_head
from keras_leoclr.key_queue import KeyQueue

DIAGNOSTICS = (
    "positive_similarity",
    "negative_similarity",
    "contrast_accuracy",
    "feature_std",
    "loss_to_chance",
)


@keras.saving.register_keras_serializable("keras_leoclr")
class LeOCLR(keras.Model):
    """Contrast of one query view with V key views of an image (LeOCLR, arXiv 2403.06813).

    Which method this is depends on the views that it is fed: with the original as query and two
    crops as keys it is LeOCLR, with one crop each it is MoCo v2 (arXiv 2003.04297). A step is

    1. the key encoder moves: `k = momentum * k + (1 - momentum) * q`, weights only, not BatchNorm's
       moving statistics;
    2. the key views are encoded in training mode, without gradient;
    3. the queries are compared with their keys and with the queue *as it was before the step*, see
       `losses.info_nce`, and the optimizer updates the query encoder;
    4. the keys replace the oldest ones in the queue.

    `queue_size=0, momentum=0` is the end-to-end framework: the keys come from the query encoder's
    current weights and the negatives are the keys of the batch's other images. They carry no gradient.

    On many devices (`distribution.connect`, `tf.distribute`, `keras.distribution.DataParallel`) the
    mathematics is that of one device with as many `bn_groups`: the loss is the mean over the whole
    batch, and keys, nothing else of the images, are gathered, so that every device holds the same queue.
    With `tf.distribute` make backbone and optimizer inside the strategy's scope, and this model outside
    of it: it takes on the strategy of the backbone's variables.

    With the optimizer's `gradient_accumulation_steps` = n every batch is enqueued, and the key encoder
    moves when the query encoder's weights have changed, every n batches.

    `fit` reports, as means over the steps of an epoch, with q and k unit vectors:

    - `loss`: `sum_v -log(exp(q.k_v/T) / (exp(q.k_v/T) + sum_j exp(q.n_j/T)))`;
    - `positive_similarity`: mean of q.k_v;
    - `negative_similarity`: mean of q.n_j;
    - `contrast_accuracy`: share of positives with q.k_v > max_j q.n_j;
    - `feature_std`: standard deviation of q over the batch, mean over its D entries. It is
      1/sqrt(D) for directions spread evenly, and 0 for a collapsed encoder;
    - `loss_to_chance`: `loss / chance_level`. At 1 the model does not tell a key from the negatives;
    - `momentum`, where it follows a schedule.

    Args:
        backbone: a Keras model, (B, H, W, C) -> (B, features) or feature maps (B, h, w, features),
            which are averaged. The query encoder holds this very model, the key encoder a copy. It takes
            normalised images, as views are, see `backbones.without_normalization`.
        projection_dim: D >= 1, length of queries and keys.
        hidden_dim: width of the head's hidden layer; by default the number of features.
        queue_size: K >= 0, number of past keys; 0 takes the negatives from the batch.
        momentum: in [0, 1], of the key encoder's moving average; or a schedule of it by training step,
            such as `schedules.CosineMomentum`.
        temperature: T > 0.
        bn_groups: G >= 1. In training, BatchNorm's statistics are taken over G equal parts of the
            batch, as G devices would; where a batch is divided among devices, over G parts of each
            device's share. The batch size must be divisible by G times the number of devices.
        enqueue: "both" puts the keys of all views into the queue, "first" those of the first view.
            The paper does not say which.
        views: a layer such as `LeOCLRViews` that makes the views within the step, on its device, from
            batches of images; TensorFlow backend only. For where the host cannot make them fast enough
            and the device has time to spare. The step is not compiled with XLA then.

    Input of `fit` and `evaluate`:
        `{"query": (B, H, W, C), "keys": (B, V, H, W, C)}`, and, where the key views were permuted
        against the queries, `"permutation": (B,)`: key row i belongs to query `permutation[i]`.
        With `views`, `{"image": (B, H, W, C), "seed": (B, 2)}`, as `data.view_dataset(views=None)` makes
        them; the seed of the first image is that of the batch. A `"permutation"` beside them, on one
        device, is that of the key views which are made: key row i is that of image `permutation[i]`.
        `evaluate` runs in inference mode and leaves encoders and queue as they are. `predict`
        takes such batches, or images (B, H, W, C), and returns queries (B, D).

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
        if views is not None and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`views` within the step need the TensorFlow backend, whose operations they are; make them "
                f"in `data.view_dataset`. Received: the {keras.backend.backend()} backend"
            )
        check_takes_normalised(backbone, "the layer of views")
        whole_number("projection_dim", projection_dim, 1)
        whole_number("queue_size", queue_size, 0)
        whole_number("bn_groups", bn_groups, 1)
        if hidden_dim is not None:
            whole_number("hidden_dim", hidden_dim, 1)
        schedule = momentum if isinstance(momentum, LearningRateSchedule) else None
        momentum = float(ops.convert_to_numpy(schedule(0))) if schedule else momentum
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be in [0, 1]. Received: momentum={momentum}")
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
        if enqueue not in ("both", "first"):
            raise ValueError(f'`enqueue` must be "both" or "first". Received: enqueue={enqueue!r}')
        self.projection_dim = projection_dim
        self.hidden_dim = hidden_dim
        self.queue_size = queue_size
        self.temperature = temperature
        self.bn_groups = bn_groups
        self.enqueue = enqueue
        self.views = views
        self._initial_momentum = momentum
        self._momentum_schedule = schedule

        self._strategy = distribution.strategy_of(backbone)
        if distribution.spans_workers(self._strategy) and distribution.in_scope():
            # of a model that was made inside, fit means a first batch over the workers, and fails
            raise ValueError(
                "For several workers LeOCLR must be made outside of `strategy.scope()`, of a backbone that "
                "was made inside. Received: a LeOCLR made inside"
            )
        with self._scope():
            self._build_from(with_pooled_features(backbone), momentum)

    def _build_from(self, backbone, momentum):
        self.backbone = backbone
        self.query_encoder, fast_query = self._encoder(self.backbone, "query_encoder")
        self.key_encoder, fast_key = self._encoder(copy_of(self.backbone), "key_encoder")
        # Of the same layers. Behind a function, so that Keras does not save or list them a second time.
        self._in_training = lambda encoder: fast_key if encoder is self.key_encoder else fast_query
        copy_weights(self.query_encoder.layers[-1], self.key_encoder.layers[-1])  # the heads
        # Pair first, then freeze variables: `key_encoder.trainable = False` would put its BatchNorm
        # in inference mode.
        self._pairs = list(
            zip(self.query_encoder.trainable_variables, self.key_encoder.trainable_variables, strict=True)
        )
        self._freeze_key_encoder()
        self._check_batch_norm_and_precision()
        self.key_queue = (
            KeyQueue(self.queue_size, self.projection_dim, name="key_queue") if self.queue_size else None
        )
        # a variable, so that a schedule can change it while the compiled step runs
        self._momentum = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(momentum),
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="momentum",
        )
        names = (*DIAGNOSTICS, "momentum") if self._momentum_schedule else DIAGNOSTICS
        self._diagnostics = {name: keras.metrics.Mean(name=name) for name in names}
        self._moved_at = None
        self.built = True

    @property
    def distribute_strategy(self) -> Any:
        """The tf.distribute strategy of the variables (TensorFlow backend)."""
        return self._strategy or super().distribute_strategy

    def _scope(self):
        return self._strategy.scope() if self._strategy is not None else contextlib.nullcontext()

    def compile(self, optimizer: Any = "rmsprop", loss: None = None, **kwargs: Any) -> None:
        """As `keras.Model.compile`, without a loss: it is built in.

        On TensorFlow without a GPU, `jit_compile="auto"`, the default, does not compile the step with XLA:
        oneDNN's convolutions and BatchNorm are faster than those that XLA makes for CPUs.
        """
        if loss is not None:
            raise ValueError(f"The loss is built in: `compile` must not be given one. Received: loss={loss}")
        optimizer = keras.optimizers.get(optimizer)
        made_for = getattr(optimizer.iterations, "value", None)
        if self._strategy is not None and getattr(made_for, "distribute_strategy", None) is None:
            raise ValueError(
                "`optimizer` must be made inside `strategy.scope()`, as the backbone was. Received: an "
                "optimizer that was made outside"
            )
        if kwargs.get("jit_compile", "auto") == "auto" and distribution.on_tensorflow_cpu():
            kwargs["jit_compile"] = False
        with self._scope():
            super().compile(optimizer=optimizer, **kwargs)
            self.optimizer.build(self.trainable_variables)
            if self.optimizer.gradient_accumulation_steps and self._moved_at is None:
                # number of weight updates at which the key encoder last moved
                self._moved_at = self.add_weight(
                    shape=(),
                    initializer="zeros",
                    dtype="int32",
                    trainable=False,
                    aggregation="only_first_replica",
                    name="moved_at",
                )

    def compile_from_config(self, config: dict) -> None:
        """Compiles a model that is loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _encoder(self, backbone, name):
        width = backbone.output_shape[-1]
        head = projection_head(width, self.hidden_dim or width, self.projection_dim, f"{name}_head")

        def encoder(backbone):
            images = keras.Input(backbone.input_shape[1:], name="images")
            return keras.Model(images, head(backbone(images)), name=name)

        return encoder(backbone), encoder(with_fast_kernels(backbone))

    def _check_batch_norm_and_precision(self):
        low = sorted({str(v.dtype) for _, v in self._pairs} & {"float16", "bfloat16"})
        if low:
            raise ValueError(
                "`backbone` must keep its weights in float32: in half precision a moving average of momentum "
                f"0.999 stands still. Use the policy mixed_{low[0]}. Received: weights in {low[0]}"
            )
        norms = [
            layer
            for layer in self.query_encoder._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._synchronized = any(layer.synchronized for layer in norms)
        if self.bn_groups > 1:
            self._warn_of_synchronized("bn_groups > 1")

    def _warn_of_synchronized(self, what):
        if self._synchronized:
            self._synchronized = False  # once is enough
            warnings.warn(
                f"{what} does not hide the statistics of BatchNormalization(synchronized=True): they are "
                "taken over all devices, the same for queries and keys in whatever order these come. Use "
                "one of the two: statistics per device with shuffled keys, or synchronized ones without.",
                stacklevel=4,
            )

    def _freeze_key_encoder(self):
        for _, key_variable in self._pairs:
            key_variable.trainable = False

    @property
    def trainable_variables(self) -> list:
        """The query encoder's; the key encoder is never trained, whatever `trainable` is set to."""
        return self.query_encoder.trainable_variables

    @property
    def non_trainable_variables(self) -> list:
        """All variables that the optimizer does not change."""
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def momentum(self) -> float:
        """Momentum of the key encoder's moving average; may be set while training."""
        return float(ops.convert_to_numpy(self._momentum))

    @momentum.setter
    def momentum(self, value: float) -> None:
        if self._momentum_schedule is not None:
            raise ValueError("`momentum` follows a schedule and cannot be set as well.")
        self._momentum.assign(value)

    def chance_level(self, num_key_views: int, batch_size: int | None = None) -> float:
        """Loss of a model that cannot tell keys from negatives: `V * log(N + 1)` for N negatives.

        Args:
            num_key_views: V.
            batch_size: B, needed without a queue, where N = V * (B - 1).
        """
        negatives = self.queue_size or num_key_views * (batch_size - 1)
        log = math.log if isinstance(negatives, int) else lambda x: ops.log(ops.cast(x, "float32"))
        return num_key_views * log(negatives + 1)

    # === Encoding ===

    def call(self, inputs, training=False):
        images = inputs["query"] if isinstance(inputs, dict) else inputs
        return self._encode(self.query_encoder, images, training)

    def _encode(self, encoder, images, training):
        """(B, H, W, C) -> (B, D), unit rows in float32."""
        outputs = self._trained(encoder, images) if training else encoder(images, training=False)
        outputs = ops.cast(outputs, "float32")
        # ops.normalize has a NaN gradient where a row is zero, as it is once all hidden units are off
        return outputs * ops.rsqrt(ops.maximum(ops.sum(ops.square(outputs), axis=-1, keepdims=True), 1e-12))

    def _trained(self, encoder, images):
        """What an encoder returns in training, by the faster form of its layers."""
        encoder = self._in_training(encoder)
        if distribution.data_axis() is not None:
            return distribution.per_device(self._stateless(encoder), encoder, images)
        return ops.concatenate([encoder(part, training=True) for part in self._groups(images)])

    def _groups(self, images):
        """The parts of a batch over which BatchNorm takes its statistics."""
        size = images.shape[0]
        if size is not None and size % self.bn_groups:
            raise ValueError(
                "`bn_groups` must divide the batch size. "
                f"Received: bn_groups={self.bn_groups}, a batch of {size} images"
            )
        return ops.split(images, self.bn_groups) if self.bn_groups > 1 else [images]

    def _stateless(self, encoder):
        def function(trainable, non_trainable, images):
            outputs = []
            for part in self._groups(images):
                made, non_trainable = encoder.stateless_call(trainable, non_trainable, part, training=True)
                outputs.append(made)
            return ops.concatenate(outputs), non_trainable

        return function

    def _encode_keys(self, views, training):
        """{"keys": (B, V, H, W, C)} -> keys (B, V, D) in the order of the queries, of all replicas."""
        images = views["keys"]
        with _no_gradient():
            keys = [
                self._encode(self.key_encoder, images[:, view], training) for view in range(images.shape[1])
            ]
            keys = distribution.gather(ops.stack(keys, axis=1))
            if "permutation" in views:
                self._warn_of_synchronized('A "permutation" of the keys')
                order = ops.argsort(distribution.gather(views["permutation"]))
                keys = ops.take(keys, order, axis=0)
        return ops.stop_gradient(keys)

    # === Steps ===

    def train_step(self, *args):
        *state, data = args  # JAX passes its state before the data, and takes it back after the logs
        views = self._views_of(data)
        # Keys are labels: made before the gradient is recorded, handed to the ordinary step as `y`.
        keys, state = self._run(state, self._key_step, views)
        own = distribution.own_rows(views["query"], keys)
        # so that the memory of the key encoder is free again when that of the gradient is needed
        queries = distribution.after(keys, views["query"])
        logs, state = self._unpack(super().train_step(*state, (queries, own)))
        _, state = self._run(state, self._enqueue, keys)
        logs = self._per_worker(logs)
        return (logs, *state) if state else logs

    def test_step(self, *args):
        *state, data = args
        views = self._views_of(data)
        keys, state = self._run(state, self._encode_keys, views, False)
        own = distribution.own_rows(views["query"], keys)
        logs, state = self._unpack(super().test_step(*state, (views["query"], own)))
        logs = self._per_worker(logs)
        return (logs, *state) if state else logs

    def _per_worker(self, logs):
        # Keras takes the mean over axis 0 of the workers' logs, which scalars do not have
        if not distribution.spans_workers(self._strategy):
            return logs
        return {name: ops.reshape(value, (1,)) for name, value in logs.items()}

    def _views_of(self, data) -> dict:
        batch = keras.utils.unpack_x_y_sample_weight(data)[0]
        names = set(batch) if isinstance(batch, dict) else set()
        if self.views is not None and {"image", "seed"} <= names:
            return self._made_within(batch)
        if not {"query", "keys"} <= names:
            expected = '"image" and "seed"' if self.views is not None else '"query" and "keys"'
            received = sorted(names) if isinstance(batch, dict) else type(batch).__name__
            raise ValueError(f"A batch must be a dictionary with {expected}. Received: {received}")
        query, keys = batch["query"].shape, batch["keys"].shape
        if len(keys) != 5 or len(query) != 4:
            raise ValueError(
                '"query" must be (B, H, W, C) and "keys" (B, V, H, W, C). '
                f"Received: query {query}, keys {keys}"
            )
        return batch

    def _made_within(self, batch):
        """Views of a batch of images, the key views in the order of its "permutation" if it has one."""
        made = self.views(batch["image"], batch["seed"][0])
        if "permutation" not in batch:
            return made
        replicas = 1 if self._strategy is None else self._strategy.num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                'With `views`, a "permutation" of the keys needs one device: each makes the key views of its '
                f"own images only. Make the views in `data.view_dataset`. Received: {replicas} devices"
            )
        keys = ops.take(made["keys"], batch["permutation"], axis=0)
        return {**made, "keys": keys, "permutation": batch["permutation"]}

    @staticmethod
    def _unpack(results):
        if keras.backend.backend() == "jax":
            logs, state = results
            return logs, [state]
        return results, []

    def _key_step(self, views):
        with _no_gradient():
            if self._momentum_schedule is not None:
                self._momentum.assign(self._momentum_schedule(self.optimizer.iterations))
            momentum = ops.convert_to_tensor(self._momentum)
            if self._moved_at is not None:  # with momentum 1 the key encoder stays where it is
                updates = ops.cast(self.optimizer.iterations, "int32")
                momentum = ops.where(updates > self._moved_at, momentum, 1.0)
                self._moved_at.assign(updates)
            for query_variable, key_variable in self._pairs:
                momentum = ops.cast(momentum, key_variable.dtype)
                key_variable.assign(momentum * key_variable + (1.0 - momentum) * query_variable)
        return self._encode_keys(views, training=True)

    def _enqueue(self, keys):
        if self.key_queue is None:
            return
        keys = keys[:, :1] if self.enqueue == "first" else keys
        keys = ops.reshape(ops.transpose(keys, (1, 0, 2)), (-1, self.projection_dim))
        with _no_gradient():
            self.key_queue.enqueue(keys)

    def _run(self, state, function, *args):
        """Calls a function that changes variables; under JAX on a state that is passed and returned.

        Args:
            state: [] or [(trainable, non-trainable, ...)], the values of the variables.
            function: what to call.
            *args: its arguments.

        Returns:
            What the function returns, and the new state.
        """
        if not state:
            return function(*args), state
        trainable, non_trainable, *others = state[0]
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        if len(others) == 2:  # in training, the optimizer's variables and the metrics'
            mapping += zip(self.optimizer.variables, others[0], strict=True)
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = function(*args)
        changed = [scope.get_current_value(v) for v in self.non_trainable_variables]
        non_trainable = [old if new is None else new for old, new in zip(non_trainable, changed, strict=True)]
        return outputs, [(trainable, non_trainable, *others)]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        query, keys = y_pred, y
        if self.key_queue is None:
            everyone = distribution.gather(keys)
            if everyone.shape[0] == 1:
                raise ValueError(
                    "`queue_size=0` takes the negatives from the batch, which must hold two images or more. "
                    "Received: a batch of 1 image"
                )
            contrast = losses.info_nce_in_batch(
                query, keys, self.temperature, everyone, distribution.first_row(keys, everyone)
            )
            mean_negative = ops.mean(everyone, axis=(0, 1))
            batch_size = ops.shape(everyone)[0]
        else:
            negatives = ops.stop_gradient(ops.convert_to_tensor(self.key_queue.keys))
            contrast = losses.info_nce(query, keys, negatives, self.temperature)
            mean_negative = ops.mean(negatives, axis=0)
            batch_size = ops.shape(query)[0]
        loss = ops.mean(contrast.loss)
        self._update_diagnostics(ops.stop_gradient(query), keys, contrast, mean_negative, loss, batch_size)
        for penalty in self.query_encoder.losses:
            loss = loss + penalty
        return distribution.scale_loss(loss)

    def _update_diagnostics(self, query, keys, contrast, mean_negative, loss, batch_size):
        # the mean of q.n_j over all negatives is q times their mean
        negative = ops.mean(ops.matmul(query, mean_negative[:, None]))
        if self.key_queue is None:
            # `mean_negative` contains the query's own keys, a share of 1/B: take them out
            size = ops.cast(batch_size, "float32")
            negative = (negative * size - ops.mean(contrast.positive_similarity)) / (size - 1.0)
        correct = contrast.positive_similarity > contrast.hardest_negative[:, None]
        values = {
            "positive_similarity": ops.mean(contrast.positive_similarity),
            "negative_similarity": negative,
            "contrast_accuracy": ops.mean(ops.cast(correct, "float32")),
            "feature_std": ops.mean(ops.std(query, axis=0)),
            "loss_to_chance": ops.stop_gradient(loss) / self.chance_level(keys.shape[1], batch_size),
        }
        if self._momentum_schedule is not None:
            values["momentum"] = ops.convert_to_tensor(self._momentum)
        for name, value in values.items():
            self._diagnostics[name].update_state(value)

    # === Config ===

    def get_config(self):
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "projection_dim": self.projection_dim,
            "hidden_dim": self.hidden_dim,
            "queue_size": self.queue_size,
            "momentum": self._initial_momentum
            if self._momentum_schedule is None
            else keras.saving.serialize_keras_object(self._momentum_schedule),
            "temperature": self.temperature,
            "bn_groups": self.bn_groups,
            "enqueue": self.enqueue,
            "views": None if self.views is None else keras.saving.serialize_keras_object(self.views),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("backbone", "momentum", "views"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects=custom_objects
                )
        return cls(**config)


def with_pooled_features(backbone: keras.Model) -> keras.Model:
    """The backbone itself if it returns (B, features), else a model that averages its feature maps.

    Raises:
        ValueError: if the model is not built, does not take (B, H, W, C), or does not return one
            vector or one feature map per image.
    """
    if not isinstance(backbone, keras.Model) or not backbone.built or not getattr(backbone, "inputs", None):
        raise ValueError(
            "`backbone` must be a Keras model with known inputs: functional, or Sequential with an "
            f"`Input`. Received: backbone={backbone!r}"
        )
    inputs, outputs = backbone.input_shape, backbone.output_shape
    if not isinstance(inputs, tuple) or len(inputs) != 4 or inputs[0] is not None:
        raise ValueError(
            "`backbone` must take images of shape (None, H, W, C), with a free batch dimension. "
            f"Received: backbone.input_shape={inputs}"
        )
    if not isinstance(outputs, tuple) or len(outputs) not in (2, 4) or outputs[0] is not None:
        raise ValueError(
            "`backbone` must return features (None, F) or feature maps (None, h, w, F) per image. "
            f"Received: backbone.output_shape={outputs}"
        )
    if outputs[-1] is None:
        raise ValueError(
            f"`backbone` must have a known number of features. Received: backbone.output_shape={outputs}"
        )
    if len(outputs) == 2:
        return backbone
    images = keras.Input(inputs[1:], name="images")
    features = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(images))
    return keras.Model(images, features, name=f"{backbone.name}_pooled")


def _no_gradient():
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()  # TensorFlow's tape is not open yet, JAX differentiates functions
