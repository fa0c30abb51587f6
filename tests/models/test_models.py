import pytest
import torch

from lehr import LehrError
from lehr.models import create, models


@pytest.mark.parametrize(
    ("name", "published"),
    [("lenet_300_100", 266_610), ("lenet5", 431_080), ("resnet20", 269_722), ("resnet18", 11_173_962)],
)
def test_parameter_counts_are_the_published_ones(name, published):
    assert sum(p.numel() for p in create(name).parameters()) == published


@pytest.mark.parametrize("name", models)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_every_network_takes_every_data_set(name, shape):
    net = create(name, num_classes=7, input_shape=shape)
    assert net(torch.zeros(2, *shape)).shape == (2, 7)


def test_a_users_own_factory(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def small(num_classes): return torch.nn.Linear(4, num_classes)\n"
        "def wrong(): return 3\n"
        "value = 5\n"
    )
    assert create(f"{file}:small", num_classes=6).out_features == 6
    with pytest.raises(LehrError, match="gave a int"):
        create(f"{file}:wrong")
    with pytest.raises(LehrError, match="has no callable 'smal': it has small, wrong"):
        create(f"{file}:smal")
    with pytest.raises(LehrError, match="has no callable 'value'"):
        create(f"{file}:value")
    with pytest.raises(LehrError, match="write path/to/file.py:factory"):
        create(str(file))
    with pytest.raises(LehrError, match="there is no file"):
        create("nowhere.py:small")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(LehrError, match=r"cannot be imported \(ZeroDivisionError"):
        create(f"{tmp_path}/broken.py:x")
    with pytest.raises(LehrError, match="no model 'resnet200': did you mean"):
        create("resnet200")
