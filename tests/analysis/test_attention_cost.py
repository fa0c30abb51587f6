import torch
from torch import nn

from lehr import Mask
from lehr.analysis.cost import cost, flops


def test_torchs_own_attention_is_counted_and_its_projections_are_priced():
    layer = nn.Sequential(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), nn.Linear(16, 2)).eval()
    counts = flops(layer, torch.zeros(1, 5, 16))
    linear = 2 * 5 * (3 * 16 * 16 + 16 * 16 + 2 * 16 * 32 + 16 * 2)
    products = 2 * 2 * 5 * 5 * 16
    assert counts[""] == linear + products
    assert counts["0.self_attn.in_proj_weight"] == 2 * 5 * 3 * 16 * 16
    assert counts["0.self_attn.out_proj"] == 2 * 5 * 16 * 16
    half = torch.arange(3 * 16 * 16).reshape(48, 16) < 3 * 16 * 8
    found = cost(layer, torch.zeros(1, 5, 16), Mask({"0.self_attn.in_proj_weight": half}))
    assert found.dense - found.kept == 2 * 5 * 3 * 16 * 8
    assert torch.backends.mha.get_fastpath_enabled()
