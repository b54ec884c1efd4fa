"""Training steps against MoCo's step in plain torch, under every backend.

The reference is Algorithm 1 of MoCo (arXiv 1911.05722) with the head and the cosine schedule of MoCo v2
(arXiv 2003.04297), its loss summed over the key views as LeOCLR does (arXiv 2403.06813). Where the
algorithm moves the key encoder at the end of a step, the reference does so at the beginning of the next,
which is shown below to be the same.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import to_numpy

torch = pytest.importorskip("torch")  # an environment with the lowest versions may be without
nn, F = torch.nn, torch.nn.functional

IMAGE_SHAPE = (16, 16, 3)
DIM = 16
TEMPERATURE = 0.2
LEARNING_RATE, SGD_MOMENTUM, WEIGHT_DECAY = 0.03, 0.9, 1e-4
STEPS = 20
COMPARED_AFTER = (1, 5, STEPS)
TOLERANCE = 2e-5
# Both sides round differently. Where the input of a ReLU is as small as that, one may see a slope of 0 and
# the other a slope of 1, and from there on they differ by percents. The seeds of the cases keep clear of it.
NEAREST_KINK = 5e-6


@dataclass(frozen=True)
class Case:
    seed: int
    views: int = 1
    batch_size: int = 8
    queue_size: int = 64
    momentum: float = 0.99
    enqueue: str = "both"

    @property
    def keys_per_step(self):
        return self.batch_size * (1 if self.enqueue == "first" else self.views)


CASES = {
    "MoCo v2": Case(seed=11),
    "MoCo v2, a queue that batches do not divide": Case(seed=16, queue_size=50),
    "LeOCLR": Case(seed=16, views=2, queue_size=76),
    "LeOCLR, only the first view enqueued": Case(seed=11, views=2, queue_size=36, enqueue="first"),
    "end to end": Case(seed=35, views=2, queue_size=0, momentum=0.0),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


pytestmark = pytest.mark.usefixtures("one_torch_thread")


# === The reference: encoder ===


class ReLU(nn.Module):
    """ReLU, and how near its inputs came to zero while gradients were recorded."""

    nearest_kink = math.inf

    def forward(self, x):
        if x.requires_grad:
            self.nearest_kink = min(self.nearest_kink, float(x.detach().abs().min()))
        return F.relu(x)


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.relu = ReLU()
        self.shortcut = nn.Identity()
        if stride > 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False),
                nn.BatchNorm2d(width, eps=1e-5, momentum=0.1),
            )

    def forward(self, x):
        y = self.relu(self.norm_1(self.conv_1(x)))
        y = self.norm_2(self.conv_2(y))
        return self.relu(y + self.shortcut(x))


class Encoder(nn.Module):
    """A ResNet of two blocks and MoCo v2's head; outputs have length 1."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8, eps=1e-5, momentum=0.1)
        self.block_1 = Block(8, 8, 1)
        self.block_2 = Block(8, 16, 2)
        self.hidden = nn.Linear(16, 16)
        self.projection = nn.Linear(16, DIM)
        self.relu = ReLU()

    def forward(self, x):
        x = self.relu(self.stem_norm(self.stem(x)))
        x = self.block_2(self.block_1(x)).mean(dim=(2, 3))
        x = self.projection(self.relu(self.hidden(x)))
        return F.normalize(x, dim=1)

    def nearest_kink(self):
        return min(module.nearest_kink for module in self.modules() if isinstance(module, ReLU))


# === The reference: training ===


@dataclass
class MoCo:
    """Algorithm 1; `move_first` decides at which end of a step the key encoder moves."""

    case: Case
    f_q: Encoder
    queue: torch.Tensor | None
    move_first: bool = True
    pointer: int = 0
    encoded_with: list = field(default_factory=list)  # the key weights at each encoding of keys

    def __post_init__(self):
        self.f_k = copy.deepcopy(self.f_q).requires_grad_(False)
        self.optimizer = torch.optim.SGD(
            self.f_q.parameters(), lr=LEARNING_RATE, momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS))
        )

    def step(self, x_q, x_k):
        """Images (B, C, H, W) and (V, B, C, H, W) -> the loss before the step."""
        if self.move_first:
            self.move_key_encoder()
        self.encoded_with.append([p.clone() for p in self.f_k.parameters()])
        q = self.f_q(x_q)
        with torch.no_grad():
            keys = [self.f_k(view) for view in x_k]
        l_neg = self.negative_logits(q, keys)
        loss = 0.0
        for k in keys:
            l_pos = (q * k).sum(dim=1, keepdim=True)
            logits = torch.cat([l_pos, l_neg], dim=1) / TEMPERATURE
            loss = loss + F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if not self.move_first:
            self.move_key_encoder()
        if self.queue is not None:
            self.enqueue(torch.cat(keys[:1] if self.case.enqueue == "first" else keys))
        return loss.item()

    def negative_logits(self, q, keys):
        if self.queue is not None:
            return q @ self.queue.T
        own = torch.eye(len(q), dtype=torch.bool)
        return torch.cat([(q @ k.T).masked_fill(own, -math.inf) for k in keys], dim=1)

    @torch.no_grad()
    def move_key_encoder(self):
        m = self.case.momentum
        for p_k, p_q in zip(self.f_k.parameters(), self.f_q.parameters(), strict=True):
            p_k.copy_(m * p_k + (1 - m) * p_q)

    def enqueue(self, keys):
        """The oldest rows of the ring give way."""
        rows = (self.pointer + torch.arange(len(keys))) % len(self.queue)
        self.queue = self.queue.clone()
        self.queue[rows] = keys
        self.pointer = (self.pointer + len(keys)) % len(self.queue)


# === From one library to the other ===


def counterparts(encoder: Encoder) -> dict[str, nn.Module]:
    """The reference's module for each Keras layer that has weights."""
    first, second = encoder.block_1, encoder.block_2
    return {
        "stem_conv": encoder.stem,
        "stem_norm": encoder.stem_norm,
        "stage1_block1_1_conv": first.conv_1,
        "stage1_block1_1_norm": first.norm_1,
        "stage1_block1_2_conv": first.conv_2,
        "stage1_block1_2_norm": first.norm_2,
        "stage2_block1_1_conv": second.conv_1,
        "stage2_block1_1_norm": second.norm_1,
        "stage2_block1_2_conv": second.conv_2,
        "stage2_block1_2_norm": second.norm_2,
        "stage2_block1_shortcut_conv": second.shortcut[0],
        "stage2_block1_shortcut_norm": second.shortcut[1],
        "hidden": encoder.hidden,
        "projection": encoder.projection,
    }


def tensors_in_keras_layout(encoder: Encoder) -> dict[str, torch.Tensor]:
    """Views of the reference's weights and BatchNorm statistics, named and laid out as in Keras."""
    tensors = {}
    for name, module in counterparts(encoder).items():
        if isinstance(module, nn.Conv2d):
            tensors[f"{name}/kernel"] = module.weight.permute(2, 3, 1, 0)  # OIHW -> HWIO
        elif isinstance(module, nn.Linear):
            tensors[f"{name}/kernel"] = module.weight.T
            tensors[f"{name}/bias"] = module.bias
        else:
            tensors[f"{name}/gamma"] = module.weight
            tensors[f"{name}/beta"] = module.bias
            tensors[f"{name}/moving_mean"] = module.running_mean
            tensors[f"{name}/moving_variance"] = module.running_var
    return tensors


def keras_variables(encoder: keras.Model) -> dict:
    """The variables of a query or key encoder by layer and name."""
    parts = [part for part in encoder.layers if isinstance(part, keras.Model)]
    return {
        f"{layer.name}/{variable.name}": variable
        for part in parts
        for layer in part.layers
        for variable in layer.variables
        if "seed" not in variable.name
    }


@torch.no_grad()
def copy_weights(source: keras.Model, target: Encoder) -> None:
    variables, tensors = keras_variables(source), tensors_in_keras_layout(target)
    assert set(variables) == set(tensors)
    for name, tensor in tensors.items():
        assert tuple(variables[name].shape) == tuple(tensor.shape)
        tensor.copy_(torch.tensor(to_numpy(variables[name])))


# === Side by side ===


def drawn_weight(rng, name, shape) -> np.ndarray:
    kind = name.split("/")[1]
    if kind == "kernel":
        weight = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[:-1]))
    elif kind == "gamma":
        weight = rng.uniform(0.5, 1.5, shape)
    elif kind == "moving_variance":
        weight = np.ones(shape)
    else:
        weight = 0.1 * rng.standard_normal(shape)
    return weight.astype("float32")


def views_of_steps(case):
    """(queries (B, H, W, C), keys (B, V, H, W, C)) per step; views of an image are alike."""
    rng = np.random.default_rng(case.seed)
    for _ in range(STEPS):
        images = rng.standard_normal((case.batch_size, 1, *IMAGE_SHAPE))
        noise = rng.standard_normal((case.batch_size, 1 + case.views, *IMAGE_SHAPE))
        views = (images + 0.5 * noise).astype("float32")
        yield views[:, 0], views[:, 1:]


def in_torch_layout(query, keys, dtype=torch.float32):
    x_q = torch.tensor(query, dtype=dtype).permute(0, 3, 1, 2).contiguous()
    x_k = torch.tensor(keys, dtype=dtype).permute(1, 0, 4, 2, 3).contiguous()
    return x_q, x_k


def a_model(case) -> kl.LeOCLR:
    model = kl.LeOCLR(
        kl.backbones.resnet_small(IMAGE_SHAPE, widths=(8, 16)),
        projection_dim=DIM,
        queue_size=case.queue_size,
        momentum=case.momentum,
        temperature=TEMPERATURE,
        enqueue=case.enqueue,
    )
    rng = np.random.default_rng(case.seed)  # the same start under every backend
    query, key = keras_variables(model.query_encoder), keras_variables(model.key_encoder)
    for name, variable in query.items():
        weight = drawn_weight(rng, name, tuple(variable.shape))
        variable.assign(weight)
        key[name].assign(weight)
    if case.queue_size:
        rows = rng.standard_normal((case.queue_size, DIM))
        model.key_queue.keys.assign(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    model.compile(kl.optimizers.SGD(schedule, momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY))
    return model


def a_reference(case, model) -> MoCo:
    """The reference in the state of the model."""
    encoder = Encoder()
    copy_weights(model.query_encoder, encoder)
    queue = torch.tensor(to_numpy(model.key_queue.keys)) if case.queue_size else None
    return MoCo(case, encoder, queue)


def state_of_model(model) -> dict[str, np.ndarray]:
    state = {}
    for side, encoder in (("query", model.query_encoder), ("key", model.key_encoder)):
        for name, variable in keras_variables(encoder).items():
            state[f"{side}/{name}"] = np.array(to_numpy(variable))
    if model.key_queue is not None:
        state["queue"] = np.array(to_numpy(model.key_queue.keys))
        state["pointer"] = int(to_numpy(model.key_queue.pointer))
    return state


def state_of_reference(reference, images) -> dict[str, np.ndarray]:
    state = {}
    for side, encoder in (("query", reference.f_q), ("key", reference.f_k)):
        for name, tensor in tensors_in_keras_layout(encoder).items():
            state[f"{side}/{name}"] = tensor.detach().numpy().copy()
        for name, variance in variances_without_bessel(encoder, images).items():
            state[f"{side}/{name}"] = variance
    if reference.queue is not None:
        state["queue"] = reference.queue.numpy().copy()
        state["pointer"] = reference.pointer
    return state


def variances_without_bessel(encoder, images) -> dict[str, np.ndarray]:
    """The moving variances that torch would have, did it divide by n, as Keras does, and not by n - 1."""
    variances = {}
    for name, module in counterparts(encoder).items():
        if isinstance(module, nn.BatchNorm2d):
            side = IMAGE_SHAPE[0] // (4 if name.startswith("stage2") else 2)
            n = images * side * side
            rest_of_start = 0.9 ** int(module.num_batches_tracked)  # variances start at 1
            moved = module.running_var.numpy() - rest_of_start
            variances[f"{name}/moving_variance"] = rest_of_start + moved * (n - 1) / n
    return variances


@dataclass
class Run:
    losses: list = field(default_factory=list)
    states: dict = field(default_factory=dict)  # by number of steps made


@functools.cache  # several tests look at the same two runs
def both_runs(case) -> tuple[Run, Run]:
    model = a_model(case)
    reference = a_reference(case, model)
    actual, expected = Run(), Run()
    for made, (query, keys) in enumerate(views_of_steps(case), start=1):
        model.reset_metrics()  # older Keras goes on with the mean of the steps before
        logs = model.train_on_batch({"query": query, "keys": keys}, return_dict=True)
        actual.losses.append(float(logs["loss"]))
        expected.losses.append(reference.step(*in_torch_layout(query, keys)))
        if made in COMPARED_AFTER:
            actual.states[made] = state_of_model(model)
            expected.states[made] = state_of_reference(reference, case.batch_size)
    assert reference.f_q.nearest_kink() > NEAREST_KINK, "choose another seed"
    return actual, expected


def deviation(actual, expected) -> float:
    """Largest difference of two arrays, as a share of the largest absolute value that is expected."""
    assert np.shape(actual) == np.shape(expected)
    difference = np.max(np.abs(np.subtract(actual, expected)))
    if difference == 0:
        return 0.0  # a beta of the key encoder is still zero after one step
    return float(difference / np.max(np.abs(expected)))


def assert_same_states(case, wanted):
    """Compares what `wanted(name)` selects after every step in `COMPARED_AFTER`."""
    actual, expected = both_runs(case)
    for made in COMPARED_AFTER:
        assert set(actual.states[made]) == set(expected.states[made])
        names = [name for name in expected.states[made] if wanted(name)]
        assert names
        for name in names:
            off = deviation(actual.states[made][name], expected.states[made][name])
            assert off < TOLERANCE, f"{name} after {made} steps: {off:.1e}"


def is_statistic(name):
    return "moving_" in name


# === The reference itself ===


def a_pure_torch_run(case, move_first, dtype) -> tuple[MoCo, list, list]:
    torch.manual_seed(0)
    encoder = Encoder().to(dtype)
    queue = F.normalize(torch.randn(case.queue_size, DIM, dtype=dtype), dim=1)
    run = MoCo(case, encoder, queue, move_first=move_first)
    losses = []
    key_weights_after = []
    for query, keys in views_of_steps(case):
        losses.append(run.step(*in_torch_layout(query, keys, dtype)))
        key_weights_after.append([p.clone() for p in run.f_k.parameters()])
    return run, losses, key_weights_after


@pytest.mark.parametrize(
    ("momentum", "dtype", "tolerance"),
    # At 0.5 averaging equal encoders rounds nothing. At 0.99 it does, in the last bit, once.
    [(0.5, torch.float32, 0.0), (0.99, torch.float64, 1e-9)],
    ids=["bit for bit", "as published"],
)
@pytest.mark.parametrize("views", [1, 2])
def test_moving_the_key_encoder_first_is_algorithm_1(views, momentum, dtype, tolerance):
    case = Case(seed=0, views=views, queue_size=50, momentum=momentum)
    ours, our_losses, _ = a_pure_torch_run(case, True, dtype)
    theirs, their_losses, their_key_weights_after = a_pure_torch_run(case, False, dtype)
    assert np.std(our_losses) > 0.01
    assert deviation(our_losses, their_losses) <= tolerance
    assert deviation(ours.queue.numpy(), theirs.queue.numpy()) <= tolerance
    # the key weights after n steps of Algorithm 1 encode the keys of step n + 1 here
    for after, encoded_with in zip(their_key_weights_after, ours.encoded_with[1:], strict=False):
        for expected, actual in zip(after, encoded_with, strict=True):
            assert deviation(actual.numpy(), expected.numpy()) <= tolerance


# === Comparison ===


@every_case
def test_every_loss_is_that_of_moco_in_torch(case):
    actual, expected = both_runs(case)
    assert np.std(expected.losses) > 0.01
    np.testing.assert_allclose(actual.losses, expected.losses, rtol=TOLERANCE)


@every_case
def test_query_weights_are_those_of_moco_in_torch(case):
    assert_same_states(case, lambda name: name.startswith("query/") and not is_statistic(name))


@every_case
def test_key_weights_are_those_of_moco_in_torch(case):
    assert_same_states(case, lambda name: name.startswith("key/") and not is_statistic(name))


@every_case
def test_moving_statistics_are_those_of_moco_in_torch(case):
    """Queries and keys have their own; torch's variances up to Bessel's correction."""
    assert_same_states(case, is_statistic)


@pytest.mark.parametrize("name", [name for name in CASES if name != "end to end"])
def test_queue_and_pointer_are_those_of_moco_in_torch(name):
    case = CASES[name]
    assert STEPS * case.keys_per_step > case.queue_size, "the ring wraps"
    assert_same_states(case, lambda name: name == "queue")
    actual, expected = both_runs(case)
    for made in COMPARED_AFTER:
        assert actual.states[made]["pointer"] == expected.states[made]["pointer"]
        assert actual.states[made]["pointer"] == made * case.keys_per_step % case.queue_size
