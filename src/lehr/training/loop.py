"""`fit`: the one training loop, on Hugging Face Accelerate; dense or attached to a method."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lehr.base.errors import Diverged, Interrupted
from lehr.data import Batches, Dataset, Examples
from lehr.runs import RunFolder, Settings, load_checkpoint, save_checkpoint
from lehr.runs.checkpoint import checkpoint_interval
from lehr.sparsify import attach, learn_mask
from lehr.sparsify.learned import MaskLearning
from lehr.training import averaging, together
from lehr.training.evaluation import Scores, evaluate
from lehr.training.interrupt import StopRequest, stop_on_signal
from lehr.training.layout import input_layout
from lehr.training.learning_rates import schedule_of
from lehr.training.losses import for_members
from lehr.training.optimizers import make_optimizer
from lehr.training.parts import Parts, Position, no_sums
from lehr.training.precision import choose_precision
from lehr.training.progress import SILENT, Bar
from lehr.training.span import span, steps_per_epoch, total_steps
from lehr.training.trackers import tracked
from lehr.training.tuning import DENSE, Tuning

LOOKS = 16  # at the expected density in an epoch, for its mean


@dataclass(frozen=True)
class Outcome:
    """What a finished training gives: final validation and test scores, the seconds it took, and a learned mask by name.

    >>> Outcome(Scores(0.9, 0.3, 100), Scores(0.88, 0.4, 100), seconds=12.0).test.accuracy
    0.88
    """

    validation: Scores
    test: Scores
    seconds: float
    mask: Mapping[str, Tensor] = field(default_factory=dict)


def fit(
    model: nn.Module,
    data: Dataset,
    settings: Settings,
    folder: RunFolder,
    *,
    tuning: Tuning = DENSE,
    mask: MaskLearning | None = None,
    keep: Collection[int] = (),
    trackers: Sequence[str] = (),
    bar: Bar = SILENT,
    checkpoint_seconds: float | None = None,
) -> Outcome:
    """Train in place as the settings say, from the folder's checkpoint where there is one.

    The state is saved every `checkpoint_seconds`, and on Ctrl-C or SIGTERM, which then raise
    `Interrupted`. A killed run started again gives the same bits as one left alone. The test set is
    read once, at the end.

    Args:
        model: trained in place.
        data, settings, folder: on what, how, and where to.
        tuning: the path of the probabilities, and what goes with it.
        mask: learned with the weights, see `lehr.learn_mask`, and multiplied into them at the end.
        keep: steps before which the weights are written into the folder, see `RunFolder.kept`.
        trackers: names that Accelerate knows (``tensorboard``, ``mlflow``, ``wandb``), for each epoch's metrics.
        bar: to show progress on.
        checkpoint_seconds: None for ``LEHR_CHECKPOINT_SECONDS``, or 30.

    Raises:
        Interrupted: asked to stop; the state is saved.
        LehrError: the loss is not finite, or a file cannot be read or written.

    >>> from tempfile import mkdtemp
    >>> from lehr.data import load
    >>> from lehr.models import create
    >>> from lehr.runs import TrainSettings
    >>> digits = load("digits")
    >>> settings = TrainSettings(data="digits", model="lenet_300_100", epochs=2, lr=0.1)
    >>> found = fit(create("lenet_300_100", **digits.sizes), digits, settings, RunFolder(mkdtemp()))
    >>> found.test.count, found.test.accuracy > 0.5
    (360, True)
    """
    if settings.threads:  # a setting, because another number of threads gives other bits
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    total = total_steps(settings, data)
    begin, _ = span(settings, data)
    method = tuning.method
    average_from = begin + averaging.check_average(settings.average, total, 0 if method is None else method.steps)
    with ExitStack() as stack:
        accelerator = stack.enter_context(tracked(settings, folder, trackers))
        optimizer = make_optimizer(settings.optimizer, model, settings.lr, settings.momentum, settings.weight_decay)
        average = averaging.Average(model, average_from) if settings.average else None
        network, wrapped = accelerator.prepare(model, optimizer)
        layout = input_layout(model, data.blank(2).to(accelerator.device))
        if tuning.teacher is not None:
            tuning.teacher.network.to(accelerator.device).eval()
        request = stack.enter_context(stop_on_signal())
        learned = stack.enter_context(learn_mask(network, wrapped, mask)) if mask is not None else None
        attachment = stack.enter_context(attach(network, wrapped, method, inactive=tuning.inactive)) if method else None
        run = _Run(
            settings, folder, data, tuning, accelerator, network, Parts(model, wrapped, Position(), attachment, average, learned),
            request, bar, layout, keep, checkpoint_interval() if checkpoint_seconds is None else checkpoint_seconds,
        )  # fmt: skip
        run.restore()
        while run.parts.position.step < run.last or run.unwritten:
            run.epoch()
        run.complete()
        validation, test = run.judge(data.validation), run.judge(data.test)
        if together.any_of(bool(request)):
            run.leave()
        if not (math.isfinite(validation.nll) and math.isfinite(test.nll)):
            raise Diverged("the network ended with weights that give no finite loss: lower the learning rate")
    accelerator.free_memory()
    return Outcome(validation, test, run.seconds(), {} if learned is None else learned.values)


@dataclass
class _Run:
    """The moving parts of one `fit`, and what moves them."""

    settings: Settings
    folder: RunFolder
    data: Dataset
    tuning: Tuning
    accelerator: Accelerator
    network: nn.Module  # as Accelerate wraps it
    parts: Parts
    request: StopRequest
    bar: Bar
    layout: torch.memory_format
    keep: Collection[int]
    checkpoint_seconds: float

    def __post_init__(self) -> None:
        settings, accelerator = self.settings, self.accelerator
        self.batches = Batches(
            self.data, settings.batch_size, settings.order_seed, accelerator.process_index, accelerator.num_processes
        )
        self.first, self.last = span(settings, self.data)
        self.total = settings.epochs * steps_per_epoch(settings, self.data)  # of the whole schedule
        self.factor = schedule_of(settings, steps_per_epoch(settings, self.data))
        self.bf16 = choose_precision(settings.precision, self.parts.model) == "bf16"
        epoch, step = divmod(self.first, steps_per_epoch(settings, self.data))
        self.parts.position = Position(epoch, step * settings.accumulate, self.first)
        self.started = self.saved_at = time.monotonic()

    def seconds(self) -> float:
        """Spent on the run so far, in this process and in those before it."""
        return time.monotonic() - self.started

    @property
    def unwritten(self) -> bool:
        """Whether steps were done in an epoch that has no metrics yet."""
        return self.parts.position.batch > 0 and self.parts.position.step > self.first

    # -- one epoch ----------------------------------------------------------------------------
    def epoch(self) -> None:
        """The rest of the present epoch, and its metrics."""
        parts = self.parts
        self.network.train()
        for inputs, targets in self.batches.epoch(parts.position.epoch, parts.position.batch):
            if parts.position.step == self.last:
                break
            inputs = inputs.to(self.accelerator.device, memory_format=self.layout)
            self.batch(inputs, targets.to(self.accelerator.device))
            stop = together.any_of(bool(self.request))
            if stop or time.monotonic() - self.saved_at > self.checkpoint_seconds:
                self.pause(stop=stop)
        row = self.metrics()
        if self.accelerator.is_main_process:
            self.folder.add_metrics(row)
        self.accelerator.log({k: v for k, v in row.items() if v is not None}, step=parts.position.step)
        parts.position.epoch += 1
        parts.position.batch = 0
        parts.position.lines += 1
        parts.totals = no_sums()

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        first, end = 0, self.total
        restart = self.tuning.restart
        if restart is not None and self.first < self.first + restart < self.total:
            middle = self.first + restart
            first, end = (0, middle) if step < middle else (middle, self.total)
        return self.settings.lr * self.tuning.peak * self.factor(step - first, end - first)

    def batch(self, inputs: Tensor, targets: Tensor) -> None:
        """One batch; the optimizer steps where gradients are complete."""
        parts, position = self.parts, self.parts.position
        if parts.attachment is not None and position.batch % max(1, len(self.batches) // LOOKS) == 0:
            parts.totals["density"] += parts.attachment.expected_density()
            parts.totals["looks"] += 1
        if position.step in self.keep and position.batch % self.settings.accumulate == 0:
            self.keep_weights()
        last = position.batch + 1 == len(self.batches)
        for group in parts.optimizer.param_groups:
            group["lr"] = self.rate(position.step)
        complete = last or (position.batch + 1) % self.settings.accumulate == 0
        self.accelerator.sync_gradients = complete
        # Ranks need not add up gradients that are not complete yet.
        waiting = nullcontext() if complete else self.accelerator.no_sync(self.network)
        with waiting:
            logits, loss = self.tuning.forward(
                self.network, inputs, targets, position.step - self.first, bf16=self.bf16
            )
            value = float(loss.detach())
            if together.any_of(not math.isfinite(value)):
                what = f"became {value}" if not math.isfinite(value) else "is not finite in another process"
                raise Diverged(
                    f"the loss {what} at step {position.step} of {self.total} (epoch {position.epoch + 1}): "
                    "lower the learning rate, in a new folder; what was saved before is kept"
                )
            self.accelerator.backward(loss)
        parts.optimizer.step()
        parts.optimizer.zero_grad()
        parts.totals["loss"] += value * targets.numel()
        right = (logits.detach().argmax(-1) == for_members(logits, targets)).sum()
        parts.totals["correct"] += int(right) * targets.numel() // (logits.numel() // logits.shape[-1])
        parts.totals["seen"] += targets.numel()
        position.batch += 1
        position.step += complete
        if parts.average is not None and complete:
            parts.average.add(parts.model, position.step)
        done = position.epoch * len(self.batches) + position.batch
        self.bar.update(done, f"loss {value:.3f}")

    def metrics(self) -> dict[str, Any]:
        """The line for an epoch that has just ended; without scores of the validation set where the run is not to look."""
        parts = self.parts
        looks = (parts.position.epoch + 1) % self.settings.validate_every == 0 or parts.position.step == self.last
        scores = self.judge(self.data.validation) if looks else None
        totals = together.total_of(parts.totals)
        seen = totals["seen"] or 1.0
        row: dict[str, Any] = {
            "epoch": parts.position.epoch + 1,
            "step": parts.position.step,
            "lr": self.rate(max(0, parts.position.step - 1)),
            "loss": totals["loss"] / seen,
            "train_accuracy": totals["correct"] / seen,
            "validation_accuracy": None if scores is None else scores.accuracy,
            "validation_nll": None if scores is None or not math.isfinite(scores.nll) else scores.nll,
        }
        if parts.learned is not None:
            row |= parts.learned.terms()
        if parts.attachment is not None:
            row["density"] = parts.attachment.target.density
            row["expected_density"] = parts.attachment.expected_density()
            row["mean_density"] = totals["density"] / totals["looks"] if totals["looks"] else row["expected_density"]
            if self.tuning.probe is not None:
                measured = self.tuning.probe(parts.model, parts.attachment)
                row |= {name: value if math.isfinite(value) else None for name, value in measured.items()}
        return row

    def judge(self, examples: Examples) -> Scores:
        """Scores of the network, or of its target while it anneals."""
        with ExitStack() as stack:
            if self.parts.attachment is not None:
                stack.enter_context(self.parts.attachment.judged())
            return evaluate(self.parts.model, examples, self.data, device=self.accelerator.device, layout=self.layout)

    def complete(self) -> None:
        """The last touches: averaged weights, and statistics for them."""
        parts = self.parts
        count = self.settings.bn_batches
        if count is None:
            count = averaging.BN_BATCHES if parts.average is not None else 0
        self.save()  # before anything that must not be done twice
        if parts.average is not None:
            parts.average.put(parts.model)
        if count and averaging.has_batch_norm(parts.model):
            # The batches of an epoch that was not trained on; every process takes all of them.
            epoch = Batches(self.data, self.settings.batch_size, self.settings.order_seed).epoch(self.settings.epochs)
            inputs = (x.to(self.accelerator.device) for x, _ in islice(epoch, count))
            averaging.reestimate_batch_norm(parts.model, inputs)

    # -- saving -------------------------------------------------------------------------------
    def pause(self, *, stop: bool) -> None:
        """Save, if gradients are not half accumulated; leave if asked to."""
        if self.parts.position.batch % self.settings.accumulate and self.parts.position.batch != len(self.batches):
            return
        self.save()
        if stop:
            self.leave()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder.checkpoint, self.parts.checkpoint(self.settings.digest, self.seconds()))
        self.saved_at = time.monotonic()

    def keep_weights(self) -> None:
        """Write the weights as they are before the present step."""
        if self.accelerator.is_main_process:
            self.folder.keep(self.parts.position.step, self.parts.model.state_dict())

    def leave(self) -> None:
        """Stop here, where the state is saved."""
        raise Interrupted(
            f"stopped at step {self.parts.position.step} of {self.total}; the state is saved: continue with --resume"
        )

    def restore(self) -> None:
        """Take up the folder's checkpoint, if it has one."""
        main = self.accelerator.is_main_process
        if self.folder.checkpoint.exists():
            checkpoint = load_checkpoint(self.folder.checkpoint, self.settings.digest)
            self.parts.restore(
                checkpoint, str(self.folder.checkpoint), sums=main
            )  # the first process has the sums of its own share
            self.started -= checkpoint.seconds
        if main:
            self.folder.cut_metrics(self.parts.position.lines)
