import numpy as np

from lehr.analysis.corruptions import Draws
from lehr.base import philox
from lehr.base.draws import Purpose

DRAWS = Draws(seed=3, name="fog", severity=2, start=5, count=4)


def test_an_image_has_the_generator_keyed_from_the_stream():
    key, counter = philox.key(3, "fog/2"), (0, 1, int(Purpose.CORRUPT))
    lanes = philox.bits16_reference(key, counter, 8 * 6, 8)
    words = [sum(lane << (16 * i) for i, lane in enumerate(lanes[part : part + 4])) for part in (0, 4)]
    generator = np.random.Generator(np.random.Philox(key=np.array(words, np.uint64)))
    assert (DRAWS.normal(2, 3, part=1)[1] == generator.standard_normal((2, 3))).all()


def test_numbers_depend_on_everything_but_the_batch():
    first = DRAWS.uniform(0, 1, 6)
    assert (Draws(3, "fog", 2, 7, 1).uniform(0, 1, 6) == first[2]).all()
    others = [Draws(4, "fog", 2, 5, 4), Draws(3, "snow", 2, 5, 4), Draws(3, "fog", 3, 5, 4), Draws(3, "fog", 2, 9, 4)]
    numbers = [first, DRAWS.uniform(0, 1, 6, part=1), *(other.uniform(0, 1, 6) for other in others)]
    assert len(np.unique(np.concatenate(numbers))) == 6 * 24


def test_shapes_types_and_distributions():
    draws = Draws(0, "doc", 1, 0, 50)
    assert draws.uniform(-45, 45).shape == (50,)
    normal, uniform = draws.normal(1000), draws.uniform(-2, 2, 1000)
    assert normal.dtype == uniform.dtype == np.float64
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert uniform.min() >= -2
    assert uniform.max() < 2
    assert abs(uniform.std() - 4 / 12**0.5) < 0.02
    counts = draws.poisson(np.full((50, 1000), 7.0))
    assert counts.dtype == np.float64
    assert abs(counts.mean() - 7) < 0.06
    assert abs(counts.var() - 7) < 0.2
