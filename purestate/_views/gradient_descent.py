"""`GradientDescent`: the interface of Flax's old `optim`."""

from typing import TYPE_CHECKING, Any, Generic

import jax
import jax.numpy as jnp

from purestate._editing.differences import difference, mismatch
from purestate._views.errors import ViewError

if TYPE_CHECKING:
    # With a default, so that an annotation may leave it out.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # the type of the parameters
else:
    from typing import TypeVar

    T = TypeVar("T")


class GradientDescent:
    """Plain gradient descent in the form of Flax's old `optim`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> opt = ps.optim.GradientDescent(learning_rate=0.5).create({"w": jnp.array(1.0)})
    >>> float(opt.apply_gradient({"w": jnp.array(1.0)}).target["w"])
    0.5

    Args:
      learning_rate: the factor of the gradients.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = float(learning_rate)  # a hashable one: it is static under jax.jit

    def create(self, target: T) -> "GradientDescentOptimizer[T]":
        """Returns an optimizer of `target`.

        Args:
          target: a pytree of parameters.

        Returns:
          An object with `target` and `apply_gradient`.
        """
        return GradientDescentOptimizer(target, self.learning_rate)


@jax.tree_util.register_pytree_node_class
class GradientDescentOptimizer(Generic[T]):
    """Parameters under plain gradient descent; made by `GradientDescent.create`.

    Attributes:
      target: the parameters.
    """

    def __init__(self, target: T, learning_rate: float):
        self.target = target
        self._learning_rate = learning_rate

    def apply_gradient(self, grads: Any) -> "GradientDescentOptimizer[T]":
        """Returns an optimizer after one step.

        Args:
          grads: the gradients, with the structure and shapes of `target`.

        Returns:
          A new optimizer; this one does not change.

        Raises:
          ViewError: the gradients do not fit `target`.
        """
        names = ("grads", "the target")
        where = difference(grads, self.target, names) or mismatch(grads, self.target, names)
        if where is not None:
            raise ViewError(
                f"`apply_gradient`: the gradients do not fit the target: {where}. Pass its"
                " gradients: grads = jax.grad(loss)(optimizer.target)."
            )
        rate = self._learning_rate
        target = jax.tree.map(
            lambda p, g: jnp.asarray(p - rate * g, jnp.asarray(p).dtype), self.target, grads
        )
        return GradientDescentOptimizer(target, rate)

    def tree_flatten(self) -> Any:
        """See `jax.tree_util.register_pytree_node_class`."""
        return (self.target,), self._learning_rate

    @classmethod
    def tree_unflatten(cls, rate: Any, children: Any) -> "GradientDescentOptimizer[Any]":
        """See `jax.tree_util.register_pytree_node_class`."""
        return cls(children[0], rate)
