"""The same training step written by hand in plain torch, for comparison with the library."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import nn
from torch.nn import functional


def backbone_of(network):
    """torchvision's ResNet without its classifier, or a few convolutions if torchvision is missing."""
    try:
        import torchvision
    except ImportError:
        torchvision = None
    if torchvision is not None and hasattr(torchvision.models, network):
        made = getattr(torchvision.models, network)(weights=None)
        width, made.fc = made.fc.in_features, nn.Identity()
        return made, width
    layers, width = [], 3
    for channels in (8, 16):
        layers += [nn.Conv2d(width, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        width = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), width


class Plain:
    """LeOCLR's step with channels_last, autocast, and list operations for SGD and the moving average.

    Args:
        network: name of a network of torchvision.
        queue: number of keys in the queue.
        device: "cuda" or "cpu".
        policy: "float32" (the default) or "mixed_bfloat16".
        compiled: whether `torch.compile` compiles the encoders; false by default.
    """

    def __init__(self, network, queue, device, policy="float32", compiled=False):
        torch.manual_seed(0)
        body, width = backbone_of(network)
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128))
        self.query = nn.Sequential(body, head).to(device).to(memory_format=torch.channels_last)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.pairs = [list(m.parameters()) for m in (self.query, self.key)]
        self.optimizer = torch.optim.SGD(self.query.parameters(), 0.03, 0.9, weight_decay=1e-4, foreach=True)
        self.queue = functional.normalize(torch.randn(queue, 128, device=device))
        self.pointer, self.device, self.policy = 0, device, policy
        compiling = torch.compile if compiled else lambda module: module
        self.encode_query, self.encode_key = compiling(self.query), compiling(self.key)

    def _precision(self):
        if self.policy == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, torch.bfloat16)

    def step(self, query, keys):
        """Runs one step on views (B, C, H, W), with a list of them as `keys`; returns the loss, a tensor."""
        with torch.no_grad(), self._precision():
            torch._foreach_mul_(self.pairs[1], 0.999)
            torch._foreach_add_(self.pairs[1], self.pairs[0], alpha=0.001)
            made = [functional.normalize(self.encode_key(view).float()) for view in keys]
        with self._precision():
            queries = functional.normalize(self.encode_query(query).float())
        logits = queries @ self.queue.clone().T / 0.2
        loss = 0.0
        for key in made:
            positive = (queries * key).sum(1, keepdim=True) / 0.2
            loss = loss - (positive - torch.cat([positive, logits], 1).logsumexp(1, keepdim=True)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            new = torch.cat(made)
            rows = (self.pointer + torch.arange(len(new), device=self.device)) % len(self.queue)
            self.queue[rows] = new
            self.pointer = (self.pointer + len(new)) % len(self.queue)
        return loss.detach()
