"""What happens on the way: measured on a network after an epoch, without changing the run by a bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lehr.base.draws import Purpose, Stream
from lehr.data import Batches, Dataset
from lehr.masks import Mask
from lehr.sparsify import Attachment
from lehr.sparsify.method import Method
from lehr.sparsify.shard import Shard
from lehr.training.losses import task_loss

BATCHES = 8  # training batches that are looked at, each with a draw of its own
PROBE_SEED = 7919  # draws that no run makes


class Probe:
    """Measures a network and what its method does to it; called after an epoch, it gives numbers for the metrics.

    ``target_loss`` and ``drawn_loss``: mean training loss of the target, and of draws of P (nats).
    ``gradient_noise``: ``E|g - mean g|^2 / |mean g|^2`` over batches and draws, g the gradient of the weights in the target.
    ``distance``: ``|w - w_0| / |w_0|`` over the weights in the target, w_0 those at the start.
    ``noise_share``: of the variance of every layer's outputs, the mean over layers of what the draws put there.
    ``norm_drift``: mean over batch-norm channels of ``|mean - mean_target| / sd_target`` of their inputs, as remembered
    against as measured on the target; absent without batch-norm.

    Args:
        model: the network at the start of the run.
        data: its batches are those of an epoch that no run trains on.
        batch_size: examples in a batch.
    """

    def __init__(self, model: nn.Module, data: Dataset, batch_size: int) -> None:
        self.start = {name: p.detach().clone() for name, p in model.named_parameters()}
        every = Batches(data, batch_size, PROBE_SEED).epoch(0)
        self.batches = [batch for _, batch in zip(range(BATCHES), every, strict=False)]

    def __call__(self, model: nn.Module, attachment: Attachment) -> dict[str, float]:
        """The numbers for now; the model, its gradients and the generators are left as they are."""
        method, target, step = attachment.method, attachment.target, attachment.step
        device = next(model.parameters()).device
        self.batches = [(inputs.to(device), targets.to(device)) for inputs, targets in self.batches]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(PROBE_SEED)
            twin = _twin(model)
            draws = [_drawn(model, target, method, step, i) for i in range(len(self.batches))]
            kept = {name: p.detach() * target[name].to(p.device) for name, p in _masked(model, target).items()}
            result = {
                "target_loss": self._loss(twin, [kept] * len(self.batches)),
                "drawn_loss": self._loss(twin, draws),
                "gradient_noise": self._gradient_noise(twin, draws, target),
                "distance": self._distance(model, target),
            }
            if len(draws) > 1:
                result["noise_share"] = self._noise_share(twin, draws)
            drift = self._norm_drift(twin, kept)
            return result if drift is None else result | {"norm_drift": drift}

    def _loss(self, twin: nn.Module, weights: Sequence[dict[str, Tensor]]) -> float:
        twin.eval()
        total = 0.0
        with torch.no_grad():
            for (inputs, targets), own in zip(self.batches, weights, strict=True):
                total += float(task_loss(_with(twin, own)(inputs), targets))
        return total / len(self.batches)

    def _gradient_noise(self, twin: nn.Module, draws: Sequence[dict[str, Tensor]], target: Mask) -> float:
        twin.train()
        remembered = {name: buffer.clone() for name, buffer in twin.named_buffers()}
        gradients = []
        for (inputs, targets), own in zip(self.batches, draws, strict=True):
            twin.zero_grad()
            torch.autograd.backward(task_loss(_with(twin, own)(inputs), targets))
            named = dict(twin.named_parameters())
            parts = [named[name].grad * own[name].ne(0) for name in target]  # type: ignore[operator]
            flat = [part[target[name].to(part.device)] for name, part in zip(target, parts, strict=True)]
            gradients.append(torch.cat(flat).double())
        with torch.no_grad():
            for name, buffer in twin.named_buffers():  # batch-norm has learnt from these batches
                buffer.copy_(remembered[name])
        stacked = torch.stack(gradients)
        mean = stacked.mean(0)
        spread = float((stacked - mean).square().sum(1).sum()) / max(1, len(gradients) - 1)
        return spread / max(float(mean.square().sum()), 1e-30)

    def _distance(self, model: nn.Module, target: Mask) -> float:
        moved = start = 0.0
        for name, parameter in _masked(model, target).items():
            keep, first = target[name].to(parameter.device), self.start[name].to(parameter.device)
            moved += float((parameter.detach() - first)[keep].double().square().sum())
            start += float(first[keep].double().square().sum())
        return float((moved / max(start, 1e-30)) ** 0.5)

    def _noise_share(self, twin: nn.Module, draws: Sequence[dict[str, Tensor]]) -> float:
        """One batch under every draw: variance over draws, over that over draws and examples together."""
        twin.eval()
        outputs: dict[str, list[Tensor]] = {}
        layers = [(n, m) for n, m in twin.named_modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]

        def keep(name: str) -> Any:
            return lambda module, given, output: outputs.setdefault(name, []).append(output.detach())

        hooks = [module.register_forward_hook(keep(name)) for name, module in layers]
        try:
            with torch.no_grad():
                for own in draws:
                    _with(twin, own)(self.batches[0][0])
        finally:
            for hook in hooks:
                hook.remove()
        shares = []
        for passes in outputs.values():
            stacked = torch.stack(passes).double()  # draws x examples x ...
            total = float(stacked.var((0, 1)).mean())
            shares.append(float(stacked.var(0).mean()) / max(total, 1e-30))
        return sum(shares) / max(1, len(shares))

    def _norm_drift(self, twin: nn.Module, kept: dict[str, Tensor]) -> float | None:
        norms = [m for m in twin.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        if not norms:
            return None
        seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}
        hooks = [norm.register_forward_pre_hook(lambda m, given: seen[m].append(given[0].detach())) for norm in norms]
        twin.eval()
        try:
            with torch.no_grad():
                for inputs, _ in self.batches:
                    _with(twin, kept)(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        drifts = []
        for norm, given in seen.items():
            values = torch.cat([x.transpose(0, 1).flatten(1) for x in given], 1)
            remembered: Any = norm.running_mean
            drifts.append(float(((values.mean(1) - remembered).abs() / (values.std(1) + 1e-12)).mean()))
        return sum(drifts) / len(drifts)


def _masked(model: nn.Module, target: Mask) -> dict[str, nn.Parameter]:
    named = dict(model.named_parameters())
    return {name: named[name] for name in target}


def _twin(model: nn.Module) -> nn.Module:
    """A copy to measure on; nothing of the run hangs on it."""
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.grad = None
    return twin


def _with(twin: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    named = dict(twin.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            named[name].copy_(value)
    return twin


def _drawn(model: nn.Module, target: Mask, method: Method, step: int, number: int) -> dict[str, Tensor]:
    """The masked weights under a draw of P, or faded by P where the method does that."""
    result = {}
    for name, parameter in _masked(model, target).items():
        shard = Shard.of(name, parameter, target.granules(name))
        chance = method.chance(step, shard).probability(target[name].to(parameter.device))
        if method.realise == "sample":
            stream = Stream(method.seed + PROBE_SEED, shard.source, Purpose.MASK, step, number)
            chance = shard.bernoulli(stream, chance).to(parameter.dtype)
        result[name] = parameter.detach() * chance
    return result
