"""TreeNet: members that share the first half of a network."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError
from lehr.models.wrappers.wrapper import Make, SelfEnsemble, members, wrappers


class Branches(nn.Module):
    """Copies of a module side by side: rows of the first, then of the second, and so on.

    Args:
        module: is copied; the copies begin with other weights.
        count: how many.
        split: whether rows are those of the branches already, or the same for all.
    """

    def __init__(self, module: nn.Module, count: int, *, split: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList([module, *(_anew(module) for _ in range(count - 1))])
        self.split = split

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.branches)) if self.split else [x] * len(self.branches)
        return torch.cat([branch(part) for branch, part in zip(self.branches, parts, strict=True)])


class Tree(SelfEnsemble):
    """A shared trunk, then M branches with a head each (Lee et al. 2015, 1511.06314).

    The trunk ends in the middle of the longest stack (`torch.nn.Sequential`) of the network; the last linear layer is the head. What lies between,
    such as a last batch-norm, is shared. While it trains logits are (N, M, classes), judged (N, classes).

    Raises:
        LehrError: the network has no stack of two layers or more.

    >>> tree = Tree(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2)), 3)
    >>> tree(torch.zeros(5, 3)).shape, tree.eval()(torch.zeros(5, 3)).shape
    (torch.Size([5, 3, 2]), torch.Size([5, 2]))
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        stacks = [
            module for module in (network, *network.children()) if isinstance(module, nn.Sequential) and len(module) > 1
        ]
        if not stacks:
            raise LehrError(
                f"{type(network).__name__} has no stack of layers (torch.nn.Sequential) to branch in: choose another network"
            )
        stack = max(stacks, key=len)
        if stack is not network:
            _branch_tail(network, stack, count)
        half = len(stack) // 2
        rest = nn.Sequential(*list(stack)[half:])
        del stack[half:]
        stack.append(Branches(rest, count, split=False))
        self.network, self.count = network, count

    def learn(self, x: Tensor) -> Tensor:
        return self.members(x).movedim(0, 1)

    def members(self, x: Tensor) -> Tensor:
        rows: Tensor = self.network(x)
        return rows.reshape(self.count, len(x), -1)


def _branch_tail(network: nn.Module, stack: nn.Sequential, count: int) -> None:
    """Give every branch a head of its own: the last linear layer behind the stack, or that the stack ends in."""
    children = list(network.named_children())
    tail = children[[child for _, child in children].index(stack) + 1 :]
    heads = [name for name, child in tail if isinstance(child, nn.Linear)]
    if not heads and not isinstance(stack[-1], nn.Linear):
        raise LehrError(f"{type(network).__name__} has no linear head behind its stack: choose another network")
    for name, child in tail:
        if name in heads[-1:]:
            setattr(network, name, Branches(child, count, split=True))
        elif "Norm" not in type(child).__name__ and next(child.parameters(), None) is not None:
            raise LehrError(
                f"{type(network).__name__} has {name} behind its longest stack, which no branch would have: choose another network"
            )


def _anew(module: nn.Module) -> nn.Module:
    """A copy with weights of its own: each tensor's values in another order, so that they are as the network begins them."""
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in copied.parameters():
            if parameter.ndim > 1:
                flat = parameter.reshape(-1)
                parameter.copy_(flat[torch.randperm(len(flat))].reshape(parameter.shape))
    return copied


@wrappers.register("tree")
def tree(make: Make, number: float, sizes: dict[str, Any]) -> Tree:
    """``tree-M``."""
    return Tree(make(**sizes), members(number, "tree"))
