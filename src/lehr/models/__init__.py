"""Built-in networks by name, and the user's own by ``path/to/file.py:factory``."""

from lehr.models.registry import create, models

from lehr.models import lenet, resnet  # isort: skip  (each registers its networks)

__all__ = ["create", "lenet", "models", "resnet"]
