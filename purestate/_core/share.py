"""`share`: one parameter in several modules."""

from collections.abc import Sequence
from typing import Any, final

import jax

from purestate._core.errors import VariableTypeError, kind_of


@final
class Shared:
    """What `share` returns: stands for an initializer, and makes nothing."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"share({self.value.dtype}{list(self.value.shape)})"


def share(value: jax.Array) -> Any:
    """Has a parameter be an array that is there already: pass it in the place of an initializer.

    So modules of different classes have one parameter between them. It is kept once, where it was
    made; its gradient is the sum of all uses. "Tied" embeddings: Press and Wolf 2017,
    arXiv:1608.05859.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def language_model(tokens):
    ...     embed = ps.Embed(vocab_size=11, embed_dim=4)
    ...     x = embed(tokens)
    ...     return ps.Linear(11, with_bias=False, w_init=ps.share(embed.embeddings.T))(x)
    >>> f = ps.transform(language_model)
    >>> params = f.init(jax.random.key(0), jnp.array([1, 2]))
    >>> jax.tree.map(jnp.shape, params)
    {'embed': {'embeddings': (11, 4)}}

    Args:
      value: a parameter as it is read, or any array made from it. To share a module, call the same
        instance twice.

    Returns:
      What takes the place of `init` in `get_parameter`, and of `w_init` and its like in layers.

    Raises:
      VariableTypeError: `value` is no array. From `get_parameter`: ShapeMismatchError, if it does
        not fit there; VariableError, if `apply` was given an array of its own for the parameter.
    """
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise VariableTypeError(
            f"`ps.share` takes an array, such as `embed.embeddings`, but got {kind_of(value)}. To"
            " share a whole module, call the same instance twice."
        )
    return Shared(value)
