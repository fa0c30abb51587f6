import numpy as np
import pytest

from lehr import LehrError
from lehr.analysis.corruptions import Draws, corruption, corruptions

DRAWS = Draws(0, "doc", 1, 0, 1)


@corruption
def bleach(images, severity, draws):
    return images + severity


def test_the_result_is_clipped_and_the_name_kept():
    images = np.zeros((1, 16, 16, 3), np.float32)
    assert (bleach(images, 2, DRAWS) == 1).all()
    assert bleach.__name__ == "bleach"


@pytest.mark.parametrize(
    ("images", "severity", "draws", "message"),
    [
        (np.zeros((1, 16, 16, 3)), 7, DRAWS, "severity is 7"),
        (np.zeros((1, 16, 16, 3), np.uint8), 1, DRAWS, "the images are uint8 of shape (1, 16, 16, 3): give float32"),
        (np.zeros((1, 3, 16, 16)), 1, DRAWS, "the images are float64 of shape (1, 3, 16, 16): give"),
        (np.zeros((16, 16, 3)), 1, DRAWS, "the images are float64 of shape (16, 16, 3): give"),
        (np.zeros((1, 16, 15, 3)), 1, DRAWS, "the images are 16x15"),
        (np.zeros((2, 16, 16, 3)), 1, DRAWS, "the draws are for 1 images and there are 2"),
    ],
)
def test_bad_input(images, severity, draws, message):
    for function in (bleach, corruptions["contrast"]):
        with pytest.raises(LehrError) as error:
            function(images, severity, draws)
        assert str(error.value).startswith(message)
