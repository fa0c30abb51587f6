from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def best_kernels() -> str: ...
def has_kernels(name: str) -> bool: ...
def most_pixels(name: str, half: bool) -> int: ...
def draw(
    key: Sequence[int],
    counter: Sequence[int],
    start: int,
    level: int,
    target: NDArray[np.uint8] | None,
    probability: NDArray[np.float32] | None,
    values: NDArray[np.float32],
    shadow: NDArray[np.float32],
    factor: NDArray[np.float32],
    done: NDArray[np.uint8],
    workers: int,
) -> None: ...
def run_beside(
    programs: Sequence[Program],
    inputs: Sequence[NDArray[np.float32]],
    outputs: Sequence[Sequence[NDArray[np.float32]]],
    workers: int,
) -> None: ...

class Program:
    def __init__(
        self,
        lines: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        samples: int,
        workers: int,
        kernels: str,
        half: bool,
    ) -> None: ...
    def add(self, kind: str, given: Mapping[str, Any]) -> None: ...
    def alone(self, value: bool) -> None: ...
    def constant(self, line: int, words: NDArray[np.float32]) -> None: ...
    def run(self, inputs: Sequence[NDArray[np.float32]], outputs: Sequence[NDArray[np.float32]]) -> None: ...
    def times(self, repeats: int) -> list[float]: ...
    def __len__(self) -> int: ...
    @property
    def lines(self) -> int: ...
