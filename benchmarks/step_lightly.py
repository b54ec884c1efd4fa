"""LeOCLR by hand from lightly's modules in torch: what `step.py` compares with.

Runs in an environment of its own (`make .venv-interop/.done`), reads one JSON request per line and
answers with steps per second.
"""

import copy
import functools
import time

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import nn
from torchvision.models import resnet
from turns import answer, peak_memory_of


def backbone(network):
    if network != "small":
        model = getattr(resnet, network)()
        model.fc = nn.Identity()
        return model, 2048 if network in ("resnet50", "resnet101") else 512

    def block(inputs, outputs, stride):
        down = nn.Sequential(resnet.conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
        return resnet.BasicBlock(inputs, outputs, stride, down if inputs != outputs else None)

    layers = [resnet.conv3x3(3, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    layers += [block(16, 16, 1), block(16, 32, 2), block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), 64


class LeOCLR(nn.Module):
    """What lightly's users would write, after its MoCo example."""

    def __init__(self, network, queue):
        super().__init__()
        self.backbone, width = backbone(network)
        self.head = MoCoProjectionHead(width, width, 128)
        self.key_backbone, self.key_head = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.key_backbone)
        deactivate_requires_grad(self.key_head)
        self.criterion = NTXentLoss(temperature=0.2, memory_bank_size=(queue, 128))
        self.optimizer = torch.optim.SGD(
            [*self.backbone.parameters(), *self.head.parameters()], lr=0.03, momentum=0.9, weight_decay=1e-4
        )

    def step(self, query, keys):
        update_momentum(self.backbone, self.key_backbone, m=0.999)
        update_momentum(self.head, self.key_head, m=0.999)
        with torch.no_grad():
            made = [self.key_head(self.key_backbone(view).flatten(start_dim=1)) for view in keys]
        q = self.head(self.backbone(query).flatten(start_dim=1))
        loss = sum(self.criterion(q, k) for k in made)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


@functools.cache
def model_of(network, queue, layout):
    torch.manual_seed(0)
    model = LeOCLR(network, queue)
    if layout != "default":
        model = model.to(memory_format=torch.channels_last)
    if layout == "compiled":
        model.backbone, model.key_backbone = torch.compile(model.backbone), torch.compile(model.key_backbone)
    return model


@functools.cache
def batch_of(size, batch, views, layout):
    form = torch.contiguous_format if layout == "default" else torch.channels_last
    return [torch.randn(batch, 3, size, size).to(memory_format=form) for _ in range(views + 1)]


def steps_per_second(steps, network, size, batch, queue, views=2, layout="default", **_):
    """Training steps on one batch that is in memory."""
    model = model_of(network, queue, layout)
    query, *keys = batch_of(size, batch, views, layout)
    model.step(query, keys)
    started = time.perf_counter()
    for _ in range(steps):
        loss = model.step(query, keys)
    float(loss.detach())
    return steps / (time.perf_counter() - started)


def peak_memory(**setting):
    """Bytes that training needs beyond what the imports have taken."""
    return peak_memory_of(lambda: steps_per_second(4, **setting))


def main():
    kinds = {"step": steps_per_second, "memory": peak_memory}
    answer(kinds)


if __name__ == "__main__":
    main()
