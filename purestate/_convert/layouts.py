"""Layouts: how a library names and orders the axes of the neutral arrays of a layer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Arrays = Mapping[str, Any]


class Leaf(NamedTuple):
    """One array in a library.

    Attributes:
      name: its name in its module.
      axes: the neutral axes, and those of the library, as in "*io>oi*"; `*` are all others, in
        their order. FLAT: without axes of size 1.
      flipped: whether the library has the axes `*` backwards.
    """

    name: str
    axes: str = ""
    flipped: bool = False


FLAT = "flat"


class Layout(NamedTuple):
    """The layout of one kind of layer.

    Attributes:
      to: from neutral arrays to those of the library.
      back: the inverse; it also gets what `to` returns the library's arrays of, for their shapes.
    """

    to: Callable[[Arrays], dict[str, Any]]
    back: Callable[[Arrays, Arrays], dict[str, Any]]


def declared(**leaves: Leaf) -> Layout:
    """The layout of a kind of which each neutral array is one array of the library."""

    def to(neutral: Arrays) -> dict[str, Any]:
        return {leaves[k].name: _moved(x, leaves[k]) for k, x in neutral.items() if k in leaves}

    def back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
        return {
            k: _moved_back(arrays[leaf.name], leaf, neutral[k].shape)
            for k, leaf in leaves.items()
            if leaf.name in arrays
        }

    return Layout(to, back)


def _moved(x: Any, leaf: Leaf) -> Any:
    if leaf.axes == FLAT:
        return x.reshape([n for n in x.shape if n != 1] or x.shape[-1:])
    if leaf.axes:
        before, after = leaf.axes.split(">")
        x = x.transpose(_order(before, after, x.ndim))
    return _flipped(x, leaf)


def _moved_back(x: Any, leaf: Leaf, shape: tuple[int, ...]) -> Any:
    if leaf.axes == FLAT:
        return x.reshape(shape)
    x = _flipped(x, leaf)
    if leaf.axes:
        before, after = leaf.axes.split(">")
        x = x.transpose(_order(after, before, x.ndim))
    return x


def _order(before: str, after: str, ndim: int) -> list[int]:
    """The numbers of the axes `before`, in their order `after`."""
    others = "0123456789"[: ndim - len(before) + 1]
    axes = before.replace("*", others)
    return [axes.index(axis) for axis in after.replace("*", others)]


def _flipped(x: Any, leaf: Leaf) -> Any:
    if not leaf.flipped:
        return x
    after = leaf.axes.split(">")[1]
    start = after.index("*")
    stop = x.ndim - (len(after) - start - 1)
    return np.flip(x, tuple(range(start, stop)))


def regrouped(x: Any, before: str, after: str) -> Any:
    """Returns gates along the last axis in another order, as in ("igfo", "ifgo")."""
    parts = dict(zip(before, np.split(x, len(before), -1), strict=True))
    return np.concatenate([parts[gate] for gate in after], -1)


def keeping(x: Any, before: str, after: str) -> Any:
    """Returns the gates of a GRU in another order, and z negated, along the last axis.

    What most libraries keep of the state by z, ps.GRU replaces: sigmoid(-x) is 1 - sigmoid(x).
    """
    parts = dict(zip(before, np.split(x, 3, -1), strict=True))
    return np.concatenate([-parts[gate] if gate == "z" else parts[gate] for gate in after], -1)


def of_content(b_h: Any) -> Any:
    """Returns the bias of the state's product with all gates; that of z and r is in the other."""
    return np.concatenate([np.zeros_like(b_h), np.zeros_like(b_h), b_h], -1)


def joined_biases(b: Any, b_h: Any) -> tuple[Any, Any]:
    """Makes of the two biases of a GRU those of ours; the new content is the last of the gates.

    Returns:
      The sum of both for z and r, with the first one's part for the content; and the second one's.
    """
    size = b.shape[-1] // 3
    total = np.array(b, np.float64)  # a copy: these may be the arrays of the user's model
    total[..., : 2 * size] += np.asarray(b_h, np.float64)[..., : 2 * size]
    return total, b_h[..., 2 * size :]


def ones_at(gate: str, gates: str, like: Any) -> Any:
    """Returns an array with 1 for one gate and 0 for the others, along the last axis."""
    ones = [float(one == gate) for one in gates]
    return np.repeat(np.asarray(ones, like.dtype), like.shape[-1] // len(gates))


def lstm(w_i: str, w_h: str, b: str, *, turned: bool = False, projection: str = "") -> Layout:
    """The layout of an LSTM with gates i, f, g, o, whose bias has the 1 of the forget gate.

    Args:
      w_i: the name of the weights of the inputs.
      w_h: the name of the weights of the state.
      b: the name of the bias, which may be missing.
      turned: whether the weights are `[out, in]`.
      projection: the name of the weights of a projection, if the library has one.
    """
    names = {"w_i": w_i, "w_h": w_h}

    def to(neutral: Arrays) -> dict[str, Any]:
        bias = regrouped(neutral["b"], "igfo", "ifgo")
        arrays = {name: regrouped(neutral[k], "igfo", "ifgo") for k, name in names.items()}
        arrays = {name: x.T if turned else x for name, x in arrays.items()}
        arrays[b] = bias + ones_at("f", "ifgo", bias)
        return arrays | ({projection: neutral["w_p"]} if "w_p" in neutral else {})

    def back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
        zero = np.zeros(neutral["b"].shape)
        weights = {k: arrays[name].T if turned else arrays[name] for k, name in names.items()}
        weights["b"] = arrays.get(b, zero) - ones_at("f", "ifgo", zero)
        found = {k: regrouped(x, "ifgo", "igfo") for k, x in weights.items()}
        return found | ({"w_p": arrays[projection]} if projection in arrays else {})

    return Layout(to, back)
