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
from lehr.runs import Checkpoint, RunFolder, Settings, load_checkpoint, save_checkpoint
from lehr.runs.checkpoint import checkpoint_interval
from lehr.runs.weights import load_weights
from lehr.sparsify import Attachment, attach, learn_mask
from lehr.sparsify.learned import LearnedMask, MaskLearning
from lehr.training import averaging, together
from lehr.training.evaluation import Scores, evaluate
from lehr.training.interrupt import StopRequest, stop_on_signal
from lehr.training.layout import input_layout
from lehr.training.learning_rates import learning_rates
from lehr.training.losses import for_members
from lehr.training.optimizers import make_optimizer
from lehr.training.precision import choose_precision
from lehr.training.progress import SILENT, Bar
from lehr.training.span import span, steps_per_epoch, total_steps
from lehr.training.trackers import tracked
from lehr.training.tuning import DENSE, Tuning

LOOKS = 16  # at the expected density in an epoch, for its mean


@dataclass(frozen=True)
class Outcome:
    """What a finished training gives: final validation and test scores, the seconds it took, and a learned mask by name."""

    validation: Scores
    test: Scores
    seconds: float
    mask: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Position:
    """Where a run is: finished epochs, batches done in the present one, optimizer steps, metric lines."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    lines: int = 0


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
        run = _Run(settings, folder, data, tuning, accelerator, model, network, wrapped, attachment, request, bar)
        run.checkpoint_seconds = checkpoint_interval() if checkpoint_seconds is None else checkpoint_seconds
        run.average, run.learned, run.layout, run.keep = average, learned, layout, keep
        run.restore()
        while run.position.step < run.last or run.unwritten:
            run.epoch()
        run.complete()
        validation, test = run.judge(data.validation), run.judge(data.test)
        if together.any_of(bool(request)):
            run.leave()
        if not (math.isfinite(validation.nll) and math.isfinite(test.nll)):
            raise Diverged("the network ended with weights that give no finite loss: lower the learning rate")
    accelerator.free_memory()
    return Outcome(validation, test, run.seconds(), {} if learned is None else learned.values)


class _Run:
    """The moving parts of one `fit`."""

    checkpoint_seconds = 0.0
    average: averaging.Average | None = None
    learned: LearnedMask | None = None
    layout = torch.contiguous_format
    keep: Collection[int] = ()

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        data: Dataset,
        tuning: Tuning,
        accelerator: Accelerator,
        model: nn.Module,
        network: nn.Module,
        optimizer: Any,
        attachment: Attachment | None,
        request: StopRequest,
        bar: Bar,
    ) -> None:
        self.settings, self.folder, self.data, self.tuning = settings, folder, data, tuning
        self.accelerator, self.model, self.network, self.optimizer = accelerator, model, network, optimizer
        self.attachment, self.request, self.bar = attachment, request, bar
        self.batches = Batches(
            data, settings.batch_size, settings.order_seed, accelerator.process_index, accelerator.num_processes
        )
        self.first, self.last = span(settings, data)
        self.total = settings.epochs * steps_per_epoch(settings, data)  # of the whole schedule
        self.factor = learning_rates[settings.schedule]
        self.bf16 = choose_precision(settings.precision, model) == "bf16"
        epoch, step = divmod(self.first, steps_per_epoch(settings, data))
        self.position = Position(epoch, step * settings.accumulate, self.first)
        self.totals = {"loss": 0.0, "correct": 0.0, "seen": 0.0, "density": 0.0, "looks": 0.0}
        self.started = self.saved_at = time.monotonic()

    def seconds(self) -> float:
        """Spent on the run so far, in this process and in those before it."""
        return time.monotonic() - self.started

    @property
    def unwritten(self) -> bool:
        """Whether steps were done in an epoch that has no metrics yet."""
        return self.position.batch > 0 and self.position.step > self.first

    # -- one epoch ----------------------------------------------------------------------------
    def epoch(self) -> None:
        """The rest of the present epoch, its metrics, and a look at the validation set."""
        self.network.train()
        for inputs, targets in self.batches.epoch(self.position.epoch, self.position.batch):
            if self.position.step == self.last:
                break
            inputs = inputs.to(self.accelerator.device, memory_format=self.layout)
            self.batch(inputs, targets.to(self.accelerator.device))
            stop = together.any_of(bool(self.request))
            if stop or time.monotonic() - self.saved_at > self.checkpoint_seconds:
                self.pause(stop=stop)
        row = self.metrics()
        if self.accelerator.is_main_process:
            self.folder.add_metrics(row)
        self.accelerator.log({k: v for k, v in row.items() if v is not None}, step=self.position.step)
        self.position.epoch += 1
        self.position.batch = 0
        self.position.lines += 1
        self.totals = dict.fromkeys(self.totals, 0.0)

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
        position = self.position
        if self.attachment is not None and position.batch % max(1, len(self.batches) // LOOKS) == 0:
            self.totals["density"] += self.attachment.expected_density()
            self.totals["looks"] += 1
        if position.step in self.keep and position.batch % self.settings.accumulate == 0:
            self.keep_weights()
        last = position.batch + 1 == len(self.batches)
        for group in self.optimizer.param_groups:
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
                raise Diverged(
                    f"the loss became {value} at step {position.step} of {self.total} (epoch {position.epoch + 1}): "
                    "lower the learning rate, in a new folder; what was saved before is kept"
                )
            self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.totals["loss"] += value * targets.numel()
        right = (logits.detach().argmax(-1) == for_members(logits, targets)).sum()
        self.totals["correct"] += int(right) * targets.numel() // (logits.numel() // logits.shape[-1])
        self.totals["seen"] += targets.numel()
        position.batch += 1
        position.step += complete
        if self.average is not None and complete:
            self.average.add(self.model, position.step)
        done = position.epoch * len(self.batches) + position.batch
        self.bar.update(done, f"loss {value:.3f}")

    def metrics(self) -> dict[str, Any]:
        """The line for an epoch that has just ended."""
        scores = self.judge(self.data.validation)
        totals = together.total_of(self.totals)
        seen = totals["seen"] or 1.0
        row: dict[str, Any] = {
            "epoch": self.position.epoch + 1,
            "step": self.position.step,
            "lr": self.rate(max(0, self.position.step - 1)),
            "loss": totals["loss"] / seen,
            "train_accuracy": totals["correct"] / seen,
            "validation_accuracy": scores.accuracy,
            "validation_nll": scores.nll if math.isfinite(scores.nll) else None,
        }
        if self.learned is not None:
            row |= self.learned.terms()
        if self.attachment is not None:
            row["density"] = self.attachment.target.density
            row["expected_density"] = self.attachment.expected_density()
            row["mean_density"] = totals["density"] / totals["looks"] if totals["looks"] else row["expected_density"]
            if self.tuning.probe is not None:
                row |= self.tuning.probe(self.model, self.attachment)
        return row

    def judge(self, examples: Examples) -> Scores:
        """Scores of the network, or of its target while it anneals."""
        with ExitStack() as stack:
            if self.attachment is not None:
                stack.enter_context(self.attachment.judged())
            return evaluate(self.model, examples, self.data, device=self.accelerator.device, layout=self.layout)

    def complete(self) -> None:
        """The last touches: averaged weights, and statistics for them."""
        count = self.settings.bn_batches
        if count is None:
            count = averaging.BN_BATCHES if self.average is not None else 0
        self.save()  # before anything that must not be done twice
        if self.average is not None:
            self.average.put(self.model)
        if count and averaging.has_batch_norm(self.model):
            # The batches of an epoch that was not trained on; every process takes all of them.
            epoch = Batches(self.data, self.settings.batch_size, self.settings.order_seed).epoch(self.settings.epochs)
            inputs = (x.to(self.accelerator.device) for x, _ in islice(epoch, count))
            averaging.reestimate_batch_norm(self.model, inputs)

    # -- saving -------------------------------------------------------------------------------
    def pause(self, *, stop: bool) -> None:
        """Save, if gradients are not half accumulated; leave if asked to."""
        if self.position.batch % self.settings.accumulate and self.position.batch != len(self.batches):
            return
        self.save()
        if stop:
            self.leave()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder.checkpoint, self.state())
        self.saved_at = time.monotonic()

    def keep_weights(self) -> None:
        """Write the weights as they are before the present step."""
        if self.accelerator.is_main_process:
            self.folder.keep(self.position.step, self.model.state_dict())

    def leave(self) -> None:
        """Stop here, where the state is saved."""
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
            average={} if self.average is None else self.average.state(),
            learned={} if self.learned is None else self.learned.state(),
            seconds=self.seconds(),
        )

    def restore(self) -> None:
        """Take up the folder's checkpoint, if it has one."""
        if not self.folder.checkpoint.exists():
            if self.accelerator.is_main_process:
                self.folder.cut_metrics(0)
            return
        checkpoint = load_checkpoint(self.folder.checkpoint, self.settings.digest)
        self.position = Position(**checkpoint.position)
        self.started -= checkpoint.seconds
        self.totals = dict(checkpoint.totals)
        if not self.accelerator.is_main_process:
            self.totals = dict.fromkeys(self.totals, 0.0)  # the first process has the sums of its own share
        load_weights(self.model, checkpoint.model, str(self.folder.checkpoint))
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": dict(checkpoint.optimizer), "param_groups": groups})
        torch.set_rng_state(checkpoint.random)
        if self.average is not None:
            self.average.load(dict(checkpoint.average))
        if self.learned is not None:
            self.learned.load(checkpoint.learned)
        if self.attachment is not None:
            assert checkpoint.attachment is not None, "a checkpoint with these settings has an attachment"
            self.attachment.load_state_dict(checkpoint.attachment)
        if self.accelerator.is_main_process:
            self.folder.cut_metrics(self.position.lines)
