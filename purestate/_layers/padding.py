"""How much to pad the inputs of convolutions."""

from collections.abc import Callable, Sequence

from purestate._layers.axes import AxesError, replicate
from purestate._layers.errors import LayerError

PadFn = Callable[[int], tuple[int, int]]
"""`pad(effective_kernel_size) -> (before, after)`."""


def valid(effective_kernel_size: int) -> tuple[int, int]:
    """No padding: each output sees inputs only.

    >>> import purestate as ps
    >>> ps.pad.valid(3)
    (0, 0)

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `(before, after)`.
    """
    del effective_kernel_size
    return (0, 0)


def same(effective_kernel_size: int) -> tuple[int, int]:
    """As many outputs as inputs.

    >>> import purestate as ps
    >>> ps.pad.same(4)
    (1, 2)

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `(before, after)`.
    """
    return ((effective_kernel_size - 1) // 2, effective_kernel_size // 2)


def full(effective_kernel_size: int) -> tuple[int, int]:
    """Every overlap of kernel and input.

    >>> import purestate as ps
    >>> ps.pad.full(3)
    (2, 2)

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `(before, after)`.
    """
    return (effective_kernel_size - 1, effective_kernel_size - 1)


def causal(effective_kernel_size: int) -> tuple[int, int]:
    """No output sees a later input.

    >>> import purestate as ps
    >>> ps.pad.causal(3)
    (2, 0)

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `(before, after)`.
    """
    return (effective_kernel_size - 1, 0)


def reverse_causal(effective_kernel_size: int) -> tuple[int, int]:
    """No output sees an earlier input.

    >>> import purestate as ps
    >>> ps.pad.reverse_causal(3)
    (0, 2)

    Args:
      effective_kernel_size: the size of the kernel, with its gaps.

    Returns:
      `(before, after)`.
    """
    return (0, effective_kernel_size - 1)


def is_padfn(padding: object) -> bool:
    """Returns whether `padding` is a function like those here, or a sequence of them.

    >>> import purestate as ps
    >>> ps.pad.is_padfn([ps.pad.same]), ps.pad.is_padfn((1, 1))
    (True, False)

    Args:
      padding: anything that stands for a padding.

    Returns:
      Whether it is to be called.
    """
    if isinstance(padding, Sequence):
        padding = padding[0] if padding else None
    return callable(padding)


def create_from_padfn(
    padding: PadFn | Sequence[PadFn], kernel: int | Sequence[int], rate: int | Sequence[int], n: int
) -> tuple[tuple[int, int], ...]:
    """Returns the padding of each axis that functions give.

    >>> import purestate as ps
    >>> ps.pad.create_from_padfn(ps.pad.same, kernel=3, rate=2, n=2)
    ((2, 2), (2, 2))

    Args:
      padding: one function, or one for each axis.
      kernel: the size of the kernel, for all axes or for each.
      rate: the dilation, for all axes or for each.
      n: the number of axes.

    Returns:
      `(before, after)` for each axis.
    """
    kernels, rates = replicate(kernel, n, "kernel"), replicate(rate, n, "rate")
    functions: tuple[PadFn, ...] = replicate(padding, n, "padding")
    return tuple(
        function((kernel - 1) * rate + 1)
        for function, kernel, rate in zip(functions, kernels, rates, strict=True)
    )


def create_from_tuple(
    padding: tuple[int, int] | Sequence[tuple[int, int]], n: int
) -> tuple[tuple[int, int], ...]:
    """Returns the padding of each axis that pairs give.

    >>> import purestate as ps
    >>> ps.pad.create_from_tuple((1, 2), n=2)
    ((1, 2), (1, 2))

    Args:
      padding: one pair, or one for each axis.
      n: the number of axes.

    Returns:
      `(before, after)` for each axis.

    Raises:
      LayerError: there is no pair.
      TypeError: there are more than one and not `n`, or it is a number.
    """
    if isinstance(padding, int):
        raise AxesError(
            f"`padding` has to be a pair (before, after), or one for each axis, got {padding}:"
            f" write {(padding, padding)}."
        )
    if not padding:
        raise LayerError("`padding` is empty: give a pair (before, after), or one for each axis.")
    try:
        first = padding[0]
    except (TypeError, LookupError):
        raise AxesError(
            f"`padding` has to be a pair (before, after), or one for each of the {n} axes, got"
            f" {padding!r}."
        ) from None
    if isinstance(first, int):
        return (tuple(padding),) * n  # pyright: ignore[reportReturnType]
    if len(padding) not in (1, n):
        raise AxesError(
            f"`padding` has to be one pair (before, after), or one for each of the {n} axes, got"
            f" {padding}."
        )
    return replicate(tuple(padding), n, "padding")


def create(
    padding: PadFn | tuple[int, int] | Sequence[PadFn] | Sequence[tuple[int, int]],
    kernel: int | Sequence[int],
    rate: int | Sequence[int],
    n: int,
) -> tuple[tuple[int, int], ...]:
    """Returns the padding of each axis that functions or pairs give.

    >>> import purestate as ps
    >>> ps.pad.create([ps.pad.causal], kernel=3, rate=1, n=1), ps.pad.create((1, 1), 3, 1, 1)
    (((2, 0),), ((1, 1),))

    Args:
      padding: a function, a pair, or one for each axis.
      kernel: the size of the kernel, for all axes or for each.
      rate: the dilation, for all axes or for each.
      n: the number of axes.

    Returns:
      `(before, after)` for each axis.

    Raises:
      TypeError: the number of parts is not that of the axes.
    """
    if is_padfn(padding):
        return create_from_padfn(padding, kernel, rate, n)  # pyright: ignore[reportArgumentType]
    return create_from_tuple(padding, n)  # pyright: ignore[reportArgumentType]
