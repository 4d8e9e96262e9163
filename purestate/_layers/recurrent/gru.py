"""The gated recurrent unit."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._core.variables import Initializer
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import VarianceScaling
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._layers.recurrent.core import RNNCore, as_array, with_batch_size
from purestate._ops.inlined import is_staged
from purestate._ops.products import dot_general

_variance_scaling = VarianceScaling()


def _along(b: jax.Array, x: jax.Array) -> jax.Array:
    """Repeats a bias `[N]` to the shape of `x`, `[..., N]`."""
    return b if b.shape == x.shape else lax.broadcast_in_dim(b, x.shape, (len(x.shape) - 1,))


class GRU(RNNCore):
    """A core with two gates: one for what of the state to replace, one for what of it to see.

    Chung et al. 2014, arXiv:1412.3555; the reset gate acts before the product with the weights, or
    after it with `reset_after=True`, as in cuDNN, PyTorch and flax.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.GRU(4)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> jax.tree.map(jnp.shape, ps.transform(f).init(jax.random.key(0), jnp.ones([2, 3])))
    {'gru': {'b': (12,), 'w_h': (4, 12), 'w_i': (3, 12)}}

    Args:
      hidden_size: the size of the output and of the state.
      w_i_init: the initializer of the weights of the inputs; None for `VarianceScaling()`.
      w_h_init: the initializer of the weights of the state; None for `VarianceScaling()`.
      b_init: the initializer of the biases; None for zeros.
      name: the name of the module.
      reset_after: whether the reset gate acts after the product of the state with its weights, to
        which a bias `b_h` `[hidden_size]` is then added first. A step then has two products in
        place of three.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        hidden_size: int,
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
        *,
        reset_after: bool = False,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if reset_after.__class__ is not bool:
            check_bool(self, "reset_after", reset_after)
        self.hidden_size = hidden_size
        self.w_i_init = w_i_init or _variance_scaling
        self.w_h_init = w_h_init or _variance_scaling
        self.b_init = b_init or jnp.zeros
        self.reset_after = reset_after
        self.param_dtype = param_dtype

    def __call__(
        self, inputs: jax.Array, state: jax.Array, *, seen: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Runs one step.

        Args:
          inputs: `[B, D]`, or `[D]`.
          state: `[B, hidden_size]`, or `[hidden_size]`.
          seen: what the weights see in place of the state, of its shape; None for the state.
            `RecurrentDropout` passes a state with values set to zero here, while what is kept goes
            on as it is.

        Returns:
          The new state, twice: as the output and as the state.

        Raises:
          LayerError: `inputs` has no axis, or more than two.
        """
        inputs, state = as_array(inputs), as_array(state)
        seen = state if seen is None else as_array(seen)
        shape, dtype, size = inputs.shape, inputs.dtype, self.hidden_size
        if len(shape) not in (1, 2):
            raise LayerError(
                f"GRU {self.module_name!r} needs the inputs of one step, [B, D] or [D], got shape"
                f" {shape}. For a sequence [T, B, D] use ps.dynamic_unroll(core, inputs,"
                " core.initial_state(B))."
            )
        kept = self.param_dtype
        w_i = get_parameter_kept_in(kept, "w_i", (shape[-1], 3 * size), dtype, self.w_i_init)
        w_h = get_parameter_kept_in(kept, "w_h", (size, 3 * size), dtype, self.w_h_init)
        b = get_parameter_kept_in(kept, "b", (3 * size,), dtype, self.b_init)
        b_h = None
        if self.reset_after:
            b_h = get_parameter_kept_in(kept, "b_h", (size,), dtype, self.b_init)

        # Where nothing is to be promoted, lax does what jax.numpy would, in half the time of
        # tracing.
        plain = (
            is_staged()
            and dtype == state.dtype == seen.dtype == w_i.dtype == w_h.dtype == b.dtype
            and (b_h is None or b_h.dtype == dtype)
            and shape[:-1] == state.shape[:-1]
        )
        add, mul = (lax.add, lax.mul) if plain else (jnp.add, jnp.multiply)

        # Of each: the gates z (what to replace) and r (what to see), and the new content a.
        sizes = (2 * size, size)
        b_zr, b_a = lax.split(b, sizes, 0)
        x = dot_general(inputs, w_i)
        x_zr, x_a = lax.split(x, sizes, len(x.shape) - 1)
        if b_h is None:
            w_zr, w_a = lax.split(w_h, sizes, 1)
            h_zr = dot_general(seen, w_zr)

            def from_state(r: Any) -> Any:
                return dot_general(mul(r, seen), w_a)

        else:
            h = dot_general(seen, w_h)
            h_zr, h_a = lax.split(h, sizes, len(h.shape) - 1)

            def from_state(r: Any) -> Any:
                return mul(r, add(h_a, _along(b_h, h_a)))

        zr = lax.logistic(add(add(x_zr, h_zr), _along(b_zr, h_zr)))
        z, r = lax.split(zr, (size, size), len(zr.shape) - 1)
        seen_a = from_state(r)
        a = lax.tanh(add(add(x_a, seen_a), _along(b_a, seen_a)))
        one: Any = z.dtype.type(1)
        state = add(mul(lax.sub(one, z), state), mul(z, a))
        return state, state

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> jax.Array:
        """Returns zeros, `[B, hidden_size]` or `[hidden_size]`.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state; None for JAX's default, float32, or float64 under `jax_enable_x64`.

        Returns:
          The state before the first step.
        """
        return jnp.zeros(with_batch_size((self.hidden_size,), batch_size), dtype)
