"""`fit`: the one training loop, on Hugging Face Accelerate; dense or attached to a method."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from lehr.base.errors import Diverged, Interrupted, LehrError
from lehr.data import Batches, Dataset
from lehr.runs import Checkpoint, RunFolder, Settings, load_checkpoint, save_checkpoint
from lehr.sparsify import Attachment, Method, attach
from lehr.sparsify.passes import Inactive
from lehr.training.evaluation import Scores, evaluate
from lehr.training.interrupt import StopRequest, stop_on_signal
from lehr.training.learning_rates import learning_rates
from lehr.training.optimizers import make_optimizer
from lehr.training.precision import choose_precision
from lehr.training.progress import SILENT, Bar


def checkpoint_interval() -> float:
    """Seconds between checkpoints: ``LEHR_CHECKPOINT_SECONDS``, or 30."""
    text = os.environ.get("LEHR_CHECKPOINT_SECONDS", "30")
    try:
        return float(text)
    except ValueError:
        raise LehrError(f"LEHR_CHECKPOINT_SECONDS is {text!r}: give a number of seconds") from None


@dataclass(frozen=True)
class Outcome:
    """What a finished training gives: final validation and test scores, and the seconds it took."""

    validation: Scores
    test: Scores
    seconds: float


@dataclass
class Position:
    """Where a run is: finished epochs, batches done in the present one, optimizer steps, metric lines."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    lines: int = 0


def steps_per_epoch(settings: Settings, data: Dataset) -> int:
    """Optimizer steps in an epoch: full batches over accumulated ones (a rest makes a step of its own)."""
    batches = len(Batches(data, settings.batch_size, settings.seed))
    return -(-batches // settings.accumulate)


def total_steps(settings: Settings, data: Dataset) -> int:
    """Optimizer steps in the run."""
    return settings.epochs * steps_per_epoch(settings, data)


def fit(
    model: nn.Module,
    data: Dataset,
    settings: Settings,
    folder: RunFolder,
    *,
    method: Method | None = None,
    inactive: Inactive = "hold",
    bar: Bar = SILENT,
    checkpoint_seconds: float | None = None,
) -> Outcome:
    """Train in place as the settings say, from the folder's checkpoint where there is one.

    The state is saved every `checkpoint_seconds`, and on Ctrl-C or SIGTERM, which then raise
    `Interrupted`. A killed run started again gives the same bits as one left alone. The test set is
    read once, at the end.

    Raises:
        Interrupted: asked to stop; the state is saved.
        LehrError: the loss is not finite, or a file cannot be read or written.
    """
    if settings.threads:  # a setting, because another number of threads gives other bits
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    # Autocast is entered here and not left to Accelerate, which would also judge the network in bf16.
    accelerator = Accelerator(mixed_precision="no", gradient_accumulation_steps=settings.accumulate)
    optimizer = make_optimizer(settings.optimizer, model, settings.lr, settings.momentum, settings.weight_decay)
    network, wrapped = accelerator.prepare(model, optimizer)
    started = time.monotonic()
    with ExitStack() as stack:
        request = stack.enter_context(stop_on_signal())
        attachment = stack.enter_context(attach(network, wrapped, method, inactive=inactive)) if method else None
        run = _Run(settings, folder, data, accelerator, model, network, wrapped, attachment, request, bar)
        run.checkpoint_seconds = checkpoint_interval() if checkpoint_seconds is None else checkpoint_seconds
        run.restore()
        while run.position.epoch < settings.epochs:
            run.epoch()
        validation, test = run.judge(data.validation), run.judge(data.test)
        if request:
            run.pause()
        if not (math.isfinite(validation.nll) and math.isfinite(test.nll)):
            raise Diverged("the network ended with weights that give no finite loss: lower the learning rate")
    accelerator.free_memory()
    return Outcome(validation, test, time.monotonic() - started)


class _Run:
    """The moving parts of one `fit`."""

    checkpoint_seconds = 0.0

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        data: Dataset,
        accelerator: Accelerator,
        model: nn.Module,
        network: nn.Module,
        optimizer: Any,
        attachment: Attachment | None,
        request: StopRequest,
        bar: Bar,
    ) -> None:
        self.settings, self.folder, self.data = settings, folder, data
        self.accelerator, self.model, self.network, self.optimizer = accelerator, model, network, optimizer
        self.attachment, self.request, self.bar = attachment, request, bar
        self.batches = Batches(
            data, settings.batch_size, settings.seed, accelerator.process_index, accelerator.num_processes
        )
        self.total = total_steps(settings, data)
        self.factor = learning_rates[settings.schedule]
        self.bf16 = choose_precision(settings.precision, model) == "bf16"
        self.position = Position()
        self.totals = {"loss": 0.0, "correct": 0.0, "seen": 0.0}
        self.saved_at = time.monotonic()

    # -- one epoch ----------------------------------------------------------------------------
    def epoch(self) -> None:
        """The rest of the present epoch, its metrics, and a look at the validation set."""
        self.network.train()
        for images, labels in self.batches.epoch(self.position.epoch, self.position.batch):
            self.batch(images.to(self.accelerator.device), labels.to(self.accelerator.device))
            if self.request or time.monotonic() - self.saved_at > self.checkpoint_seconds:
                self.pause()
        row = self.metrics()
        if self.accelerator.is_main_process:
            self.folder.add_metrics(row)
        self.position.epoch += 1
        self.position.batch = 0
        self.position.lines += 1
        self.totals = dict.fromkeys(self.totals, 0.0)

    def batch(self, images: Tensor, labels: Tensor) -> None:
        """One batch; the optimizer steps where Accelerate says that gradients are complete."""
        position = self.position
        last = position.batch + 1 == len(self.batches)
        rate = self.settings.lr * self.factor(position.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        complete = last or (position.batch + 1) % self.settings.accumulate == 0
        self.accelerator.sync_gradients = complete
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(images)
        loss = F.cross_entropy(logits.float(), labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Diverged(
                f"the loss became {value} at step {position.step} of {self.total} (epoch {position.epoch + 1}): "
                "lower the learning rate; what was saved before is kept"
            )
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.totals["loss"] += value * len(labels)
        self.totals["correct"] += int((logits.detach().argmax(1) == labels).sum())
        self.totals["seen"] += len(labels)
        position.batch += 1
        position.step += complete
        done = position.epoch * len(self.batches) + position.batch
        self.bar.update(done, f"loss {value:.3f}")

    def metrics(self) -> dict[str, Any]:
        """The line for an epoch that has just ended."""
        scores = self.judge(self.data.validation)
        seen = self.totals["seen"] or 1.0
        row: dict[str, Any] = {
            "epoch": self.position.epoch + 1,
            "step": self.position.step,
            "lr": self.settings.lr * self.factor(max(0, self.position.step - 1), self.total),
            "loss": self.totals["loss"] / seen,
            "train_accuracy": self.totals["correct"] / seen,
            "validation_accuracy": scores.accuracy,
            "validation_nll": scores.nll if math.isfinite(scores.nll) else None,
        }
        if self.attachment is not None:
            row["density"] = self.attachment.target.density
            row["expected_density"] = self.attachment.expected_density()
        return row

    def judge(self, split: Any) -> Scores:
        """Scores of the network, or of its target while it anneals."""
        with ExitStack() as stack:
            if self.attachment is not None:
                stack.enter_context(self.attachment.judged())
            return evaluate(self.network, split, self.data, device=self.accelerator.device)

    # -- saving -------------------------------------------------------------------------------
    def pause(self) -> None:
        """Save, if gradients are not half accumulated; leave if asked to."""
        if self.position.batch % self.settings.accumulate and self.position.batch != len(self.batches):
            return
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder.checkpoint, self.state())
        self.saved_at = time.monotonic()
        if self.request:
            raise Interrupted(
                f"stopped at step {self.position.step} of {self.total}; the state is saved: continue with --resume"
            )

    def state(self) -> Checkpoint:
        """All that a resumed run needs."""
        return Checkpoint(
            settings=self.settings.digest,
            position=vars(self.position),
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict()["state"],
            random=torch.get_rng_state(),
            attachment=None if self.attachment is None else self.attachment.state_dict(),
            totals=self.totals,
        )

    def restore(self) -> None:
        """Take up the folder's checkpoint, if it has one."""
        if not self.folder.checkpoint.exists():
            self.folder.cut_metrics(0)
            return
        checkpoint = load_checkpoint(self.folder.checkpoint, self.settings.digest)
        self.position = Position(**checkpoint.position)
        self.totals = dict(checkpoint.totals)
        load_weights(self.model, checkpoint.model, str(self.folder.checkpoint))
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": dict(checkpoint.optimizer), "param_groups": groups})
        torch.set_rng_state(checkpoint.random)
        if self.attachment is not None:
            assert checkpoint.attachment is not None, "a checkpoint with these settings has an attachment"
            self.attachment.load_state_dict(checkpoint.attachment)
        self.folder.cut_metrics(self.position.lines)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors into a network, or say in one sentence why they do not fit.

    >>> load_weights(nn.Linear(1, 1), {"weight": torch.zeros(1, 1)}, "doc")
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: doc does not fit the network: bias is missing
    """
    own = model.state_dict()
    for name in own.keys() - tensors.keys():
        raise LehrError(f"{source} does not fit the network: {name} is missing")
    for name in tensors.keys() - own.keys():
        raise LehrError(f"{source} does not fit the network: it has {name}, which the network lacks")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise LehrError(
                f"{source} does not fit the network: {name} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
    model.load_state_dict(tensors)
