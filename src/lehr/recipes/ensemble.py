"""`ensemble evaluate`: what finished networks are worth together, on clean and corrupted data, and what they cost."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lehr.analysis.calibration import fit_temperature, reliability
from lehr.analysis.cost import cost
from lehr.analysis.diversity import diversity
from lehr.analysis.quality import Quality, quality
from lehr.base.errors import LehrError, require
from lehr.data import Batches, Dataset
from lehr.ensembles import COMBINE
from lehr.ensembles.swag import swag
from lehr.masks import Mask
from lehr.recipes.corrupted import told
from lehr.recipes.ending import nonzeros
from lehr.recipes.network import JudgeSettings, open_network
from lehr.recipes.parent import ancestors
from lehr.recipes.questions import TEST, VALIDATION, Answers, EnsembleSettings, Key, Questions, alike, ask
from lehr.runs import RunFolder
from lehr.training import together
from lehr.training.averaging import BN_BATCHES, has_batch_norm, reestimate_batch_norm
from lehr.training.progress import SILENT, Bar
from lehr.training.span import span, steps_per_epoch

PASSES = 3  # of a training step: forward, and backward for inputs and for weights
COUNTED = 4  # examples of the batch whose operations are counted


@dataclass(frozen=True)
class Members:
    """Finished networks of the same data."""

    networks: tuple[nn.Module, ...]
    masks: tuple[Mask | None, ...]
    data: Dataset
    runs: tuple[str, ...]
    forwards: int = 0  # training examples that were passed forward to make the networks out of the runs


def open_members(runs: Sequence[str]) -> Members:
    """The networks of run folders.

    Raises:
        LehrError: there is none, or they are of unlike data.
    """
    require(len(runs) > 0, "an ensemble has no members: give at least one run")
    opened = [open_network(JudgeSettings(run=run)) for run in runs]
    data = opened[0].data
    for run, one in zip(runs, opened, strict=True):
        if one.data.name != data.name or one.data.input_shape != data.input_shape:
            raise LehrError(f"{runs[0]} is of {data.name} and {run} of {one.data.name}: give members of the same data")
        if not alike(one.data, data):
            raise LehrError(f"{runs[0]} and {run} see {data.name} scaled in two ways: give members with one limit")
    return Members(tuple(one.model for one in opened), tuple(one.mask for one in opened), data, tuple(runs))


def sampled(members: Members, count: int, *, seed: int = 0) -> Members:
    """Networks drawn around the members by `lehr.ensembles.swag.swag`, batch-norm's statistics estimated anew on training data."""
    data, settings = members.data, RunFolder(members.runs[-1]).settings()
    batches = Batches(data, min(settings.batch_size, len(data.train)), settings.order_seed)
    inputs = [one for one, _ in islice(batches.epoch(0), BN_BATCHES)]
    place = together.state().device
    networks = []
    for state in swag([network.state_dict() for network in members.networks], count, seed=seed):
        network = copy.deepcopy(members.networks[0])
        network.load_state_dict(state)
        if has_batch_norm(network):
            reestimate_batch_norm(network.to(place), (one.to(place) for one in inputs))
        networks.append(network.cpu().eval())
    asked = sum(map(len, inputs)) * count if has_batch_norm(members.networks[0]) else 0
    return replace(members, networks=tuple(networks), masks=(None,) * count, forwards=asked)


def judge(
    members: Members,
    settings: EnsembleSettings,
    *,
    answers: Sequence[Answers] | None = None,
    bar: Bar = SILENT,
) -> dict[str, Any]:
    """Scores of members together and alone.

    Args:
        members: of an ensemble.
        settings: on what they are judged.
        answers: of each of them to these questions; None: they are asked.
        bar: shows how far asking is.

    Returns:
        ``probabilities`` and ``logits``, scores of the mean of either, with ``corrupted`` inside where asked for; ``members``, those of each (a network that is an ensemble by itself has several), ``count`` of them; with
        several of them ``diversity``; ``reliability``, bins of the mean of probabilities; where asked for ``temperature``, that fitted on
        validation and the scores with it; ``cost`` as `cost_of` has it.

    Raises:
        LehrError: there is no such corruption, or the data holds text.
    """
    if answers is None:
        questions, steps = Questions(members.data, settings), 0
        answers = []
        for network in members.networks:
            answers.append(ask(network, questions, bar=bar, done=steps))
            steps += len(questions.keys)

    def together(key: Key) -> tuple[Tensor, Tensor]:
        return torch.cat([one[key].logits for one in answers]), answers[0][key].targets

    logits, targets = together(TEST)
    result: dict[str, Any] = {
        "count": len(logits),
        **{name: quality(combine(logits), targets).as_dict() for name, combine in COMBINE.items()},
        "members": [quality(one, targets).as_dict() for one in logits],
        "reliability": [row.as_dict() for row in reliability(COMBINE["probabilities"](logits), targets)],
        "cost": cost_of(members),
    }
    if len(logits) > 1:
        result["diversity"] = diversity(logits, targets).as_dict()
    if settings.temperature:
        known, labels = together(VALIDATION)
        fitted = fit_temperature(COMBINE["probabilities"](known), labels)
        scaled = quality(COMBINE["probabilities"](logits) / fitted, targets).as_dict()
        result["temperature"] = {"value": fitted, **scaled}
    if settings.asked:
        for name, combine in COMBINE.items():
            found: dict[str, list[Quality]] = {}
            for key in settings.sets():
                own, wanted = together(key)
                found.setdefault(key[0], []).append(quality(combine(own), wanted))
            result[name]["corrupted"] = told(found, settings)
    return result


def cost_of(members: Members) -> dict[str, float]:
    """What members cost to train and to ask.

    Returns:
        ``epochs``: of all runs that they come from, each counted once; ``training_flops``: of those epochs, 3 passes forward for a step, with the
        mean expected density of each epoch, if zeros were skipped, and of what estimating statistics took; ``flops``: of one example for all members, dense; ``kept_flops``: if zeros were skipped; ``parameters`` and
        ``nonzeros``.
    """
    prices = [cost(net, members.data.blank(1), mask) for net, mask in zip(members.networks, members.masks, strict=True)]
    step = _training_flops(members.networks[0], members.data)
    epochs, flops = 0.0, members.forwards * step / PASSES
    for path in sorted({path for run in members.runs for path in ancestors(run)}):
        folder = RunFolder(path)
        own, base = [row.get("mean_density") for row in folder.metrics()], folder.settings()
        share = (
            prices[0].kept / prices[0].dense if members.masks[0] is not None and members.masks[0].density < 1 else 1.0
        )
        density = members.masks[0].density if members.masks[0] is not None else 1.0
        masked = (1 - share) / (1 - density) if density < 1 else 1.0  # part of the operations that are of masked layers
        first, last = span(base, members.data)
        epochs += (last - first) / max(1, steps_per_epoch(base, members.data))
        known = [1.0 if one is None else 1.0 - masked * (1.0 - float(one)) for one in own]
        flops += sum(known) * len(members.data.train) * step
    return {
        "epochs": epochs,
        "training_flops": flops,
        "flops": float(sum(price.dense for price in prices)),
        "kept_flops": float(sum(price.kept for price in prices)),
        "parameters": float(sum(p.numel() for net in members.networks for p in net.parameters())),
        "nonzeros": float(sum(map(nonzeros, members.networks))),
    }


def _training_flops(network: nn.Module, data: Dataset) -> float:
    """Of a step, for one example; a network that is an ensemble by itself does other things while it trains."""
    own = copy.deepcopy(network).train()
    # Of attention the counter knows the plain form alone.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        own(data.blank(COUNTED))
    return PASSES * float(counter.get_total_flops()) / COUNTED
