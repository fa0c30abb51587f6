"""What a corruption is, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lehr.analysis.corruptions.draws import Array, Draws
from lehr.base.errors import require

Images = npt.NDArray[np.floating[Any]]
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 16  # pixels a side: kernels and displacements are made for 32


class Corruption(Protocol):
    """A pure function from images, float of shape (N, H, W, 3) in [0, 1], to images of the same shape, type and range.

    `severity` is 1 (mild) to 5 (strong); `draws` has the random numbers of exactly these N images.
    """

    def __call__(self, images: Images, severity: int, draws: Draws) -> Images: ...


def check_severity(severity: object) -> None:
    """Raise unless the severity is a whole number from 1 to 5.

    >>> check_severity(6)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: severity is 6: give a whole number from 1 (mild) to 5 (strong)
    """
    whole = isinstance(severity, Integral) and not isinstance(severity, bool)
    message = f"severity is {severity!r}: give a whole number from 1 (mild) to 5 (strong)"
    require(whole and severity in SEVERITIES, message)


def check_size(height: int, width: int) -> None:
    """Raise unless both sides have at least 16 pixels.

    >>> check_size(8, 8)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: the images are 8x8 and corruptions need at least 16x16: give a data set of larger ones
    """
    message = f"the images are {height}x{width} and corruptions need at least {SMALLEST}x{SMALLEST}: give a data set of larger ones"
    require(min(height, width) >= SMALLEST, message)


def corruption(formula: Callable[[Array, int, Draws], Array]) -> Corruption:
    """Make a formula in float64 a `Corruption`: check what comes in, clip what goes out to [0, 1], keep the type.

    >>> @corruption
    ... def darken(images, severity, draws):
    ...     return images - 0.1 * severity
    >>> images = np.full((1, 16, 16, 3), 0.25, np.float32)
    >>> result = darken(images, 2, Draws(0, "darken", 2, 0, 1))
    >>> print(result.dtype, result[0, 0, 0])
    float32 [0.05 0.05 0.05]

    Raises:
        LehrError: the severity is not 1 to 5, the images are not float of shape (N, H, W, 3) with sides of at least
            16, or the draws are for another number of images.
    """

    @wraps(formula)
    def checked(images: Images, severity: int, draws: Draws) -> Images:
        check_severity(severity)
        fits = images.dtype in (np.float32, np.float64) and images.ndim == 4 and images.shape[3] == 3
        message = f"the images are {images.dtype} of shape {images.shape}: give float32 or float64 of (N, H, W, 3)"
        require(fits, message)
        check_size(*images.shape[1:3])
        message = f"the draws are for {draws.count} images and there are {len(images)}: give them the same count"
        require(draws.count == len(images), message)
        result = formula(images.astype(np.float64), severity, draws)
        return np.clip(result, 0.0, 1.0).astype(images.dtype, copy=False)

    return checked
