"""Built-in networks by name, and the user's own by ``path/to/file.py:factory``."""

from lehr.models.initialise import initialisations, initialise
from lehr.models.registry import create, models

from lehr.models import gpt, lenet, mlp, resnet, text_encoder, vgg, vit, wide_resnet  # isort: skip  (each registers its networks)

__all__ = [
    "create",
    "gpt",
    "initialisations",
    "initialise",
    "lenet",
    "mlp",
    "models",
    "resnet",
    "text_encoder",
    "vgg",
    "vit",
    "wide_resnet",
]
