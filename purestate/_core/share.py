"""`share`: one parameter in several modules."""

from collections.abc import Sequence
from typing import Any, final

import jax

from purestate._core.errors import VariableTypeError, kind_of


@final
class Shared:
    """The result of `share`: takes the place of an initializer, and creates nothing."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"share({self.value.dtype}{list(self.value.shape)})"


def share(value: jax.Array) -> Any:
    """Makes a parameter use an existing array: pass the result in place of an initializer.

    Modules of different classes then share one parameter. Params hold it once, under the module
    that created it. Its gradient is the sum over all uses. "Tied" embeddings: Press and Wolf 2017,
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
      value: a parameter, or any array computed from it. To share a module, call the same instance
        twice.

    Returns:
      A value for `init` of `get_parameter`, or for `w_init` and the like of layers.

    Raises:
      VariableTypeError: `value` is not an array. From `get_parameter`: ShapeMismatchError, if it
        has another shape; VariableError, if `apply` was given a separate array for the parameter.
    """
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise VariableTypeError(
            f"`ps.share` takes an array, such as `embed.embeddings`, but got {kind_of(value)}. To"
            " share a whole module, call the same instance twice."
        )
    return Shared(value)
