"""Sonnet's padding of convolutions: `[before, after]` from the size of a kernel with its gaps."""

from collections.abc import Callable, Sequence
from typing import Any

from purestate._layers import padding as layers_padding
from purestate._sonnet.errors import SonnetTypeError

Padding = Callable[[int], Sequence[int]]
"""`pad(effective_kernel_size) -> [before, after]`."""
Paddings = Padding | Sequence[Padding]


def valid(effective_kernel_size: int) -> list[int]:
    """No padding: each output sees inputs only.

    >>> import purestate.sonnet as snt
    >>> snt.pad.valid(3)
    [0, 0]

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `[before, after]`.
    """
    return list(layers_padding.valid(effective_kernel_size))


def same(effective_kernel_size: int) -> list[int]:
    """As many outputs as inputs, for a stride of 1.

    >>> import purestate.sonnet as snt
    >>> snt.pad.same(4)
    [1, 2]

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `[before, after]`.
    """
    return list(layers_padding.same(effective_kernel_size))


def full(effective_kernel_size: int) -> list[int]:
    """Every overlap of kernel and input.

    >>> import purestate.sonnet as snt
    >>> snt.pad.full(3)
    [2, 2]

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `[before, after]`.
    """
    return list(layers_padding.full(effective_kernel_size))


def causal(effective_kernel_size: int) -> list[int]:
    """No output sees a later input.

    >>> import purestate.sonnet as snt
    >>> snt.pad.causal(3)
    [2, 0]

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `[before, after]`.
    """
    return list(layers_padding.causal(effective_kernel_size))


def reverse_causal(effective_kernel_size: int) -> list[int]:
    """No output sees an earlier input.

    >>> import purestate.sonnet as snt
    >>> snt.pad.reverse_causal(3)
    [0, 2]

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `[before, after]`.
    """
    return list(layers_padding.reverse_causal(effective_kernel_size))


def create(
    padding: Paddings,
    kernel: int | Sequence[int],
    rate: int | Sequence[int],
    n: int,
    channel_index: int,
) -> list[list[int]]:
    """Returns the padding of every axis, those of the batch and the channels included.

    >>> import purestate.sonnet as snt
    >>> snt.pad.create(snt.pad.same, kernel=3, rate=2, n=1, channel_index=-1)
    [[0, 0], [2, 2], [0, 0]]

    Args:
      padding: a function such as `snt.pad.same`, or one for each spatial axis.
      kernel: the size of the kernel, for all spatial axes or for each.
      rate: the dilation, for all spatial axes or for each.
      n: the number of spatial axes.
      channel_index: the axis of the channels: 1 if they come first, else -1.

    Returns:
      `[before, after]` for each of the `n + 2` axes.

    Raises:
      SonnetTypeError: `padding` is neither a function nor a sequence of functions.
      TypeError: a sequence has neither one part nor `n`.
    """
    functions = [padding] if callable(padding) else padding
    if isinstance(functions, str) or not all(callable(function) for function in functions):
        raise SonnetTypeError(
            f"`snt.pad.create` takes a function such as snt.pad.same, or one for each of the {n}"
            f" spatial axes; got {padding!r}. Write 'SAME' or 'VALID' as one text, for all axes:"
            " snt.Conv2D(..., padding='SAME')."
        )
    chosen: Any = functions  # those of Sonnet return lists, and those of purestate tuples
    spatial = [list(pair) for pair in layers_padding.create_from_padfn(chosen, kernel, rate, n)]
    if channel_index == 1:
        return [[0, 0], [0, 0], *spatial]
    return [[0, 0], *spatial, [0, 0]]
