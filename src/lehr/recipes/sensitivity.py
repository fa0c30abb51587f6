"""`sensitivity`: accuracy against sparsity, layer by layer, one-shot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from lehr.analysis.sensitivity import sensitivity as analyse
from lehr.base.errors import check_fraction
from lehr.base.files import write_json, write_text
from lehr.masks import target_parameters
from lehr.recipes.network import JudgeSettings, open_network
from lehr.training import evaluate as judge
from lehr.training.progress import bar


class SensitivitySettings(JudgeSettings):
    """Which network, cut how; `seed` is of ties and of the random score."""

    sparsities: tuple[float, ...] = Field(default=(0.5, 0.8, 0.9, 0.95, 0.99), min_length=1)
    score: str = "magnitude"
    granularity: str = "unstructured"
    target_modules: tuple[str, ...] | str | None = None
    exclude_modules: tuple[str, ...] | str | None = None
    examples: int = Field(default=2000, ge=1)  # of the validation set

    @field_validator("sparsities")
    @classmethod
    def _fractions(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(check_fraction("sparsity", value) for value in values)


def sensitivity(settings: SensitivitySettings, out: Path | None = None, *, show: bool = False) -> dict[str, Any]:
    """Cut every layer alone to every sparsity and judge on validation examples; write ``sensitivity.json`` and ``.svg``.

    The value is accuracy (for language: next-character accuracy), in [0, 1].
    """
    network = open_network(settings)
    data, model = network.data, network.model
    held = data.validation.first(settings.examples)
    count = len(target_parameters(model, settings.target_modules, settings.exclude_modules)) * len(settings.sparsities)
    with bar("sensitivity", count, show=show) as line:
        rows = analyse(
            model,
            settings.sparsities,
            lambda m: judge(m, held, data).accuracy,
            score=settings.score,
            granularity=settings.granularity,
            target_modules=settings.target_modules,
            exclude_modules=settings.exclude_modules,
            seed=settings.seed,
            step=lambda done: line.update(done),
        )
    accuracy = judge(model, held, data).accuracy
    result = {
        "run": settings.run,
        "task": data.task,
        "examples": len(held),
        "accuracy": accuracy,
        "sparsities": list(settings.sparsities),
        "layers": [{"name": r.layer, "weights": r.weights, "accuracy": list(r.quality)} for r in rows],
    }
    if out is not None:
        from lehr.report.heat import heat_map

        write_json(out / "sensitivity.json", result)
        write_text(out / "sensitivity.svg", heat_map(rows, settings.sparsities, accuracy))
    return result
