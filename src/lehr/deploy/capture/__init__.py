"""From a PyTorch network to a graph: `torch.export` says what is computed, each operation is translated or named."""

from lehr.deploy.capture.translation import Capture, Stage, capture

from lehr.deploy.capture import layers, shapes  # isort: skip  (each registers its rules)

__all__ = ["Capture", "Stage", "capture", "layers", "shapes"]
