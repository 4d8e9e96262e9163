"""`TrainState`: all that a training run carries from step to step."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import kind_of
from purestate._state.transform_with_collections import TransformedWithCollections
from purestate._views.errors import ViewError, ViewTypeError
from purestate._views.optimizer_step import check_grads, check_transformation, first_state, step

if TYPE_CHECKING:
    from purestate._editing.trainable_only import Transformation


class TrainState(NamedTuple):
    """All that a training run carries from step to step: a plain, immutable pytree.

    >>> import functools, jax, jax.numpy as jnp, optax, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(1)(x), True))
    >>> tx, x, y = optax.adam(0.1), jnp.ones([4, 3]), jnp.ones([4, 1])
    >>> def loss_fn(params, state, rng, x, y):
    ...     out, state = f.apply(params, state, rng, x)
    ...     return ((out - y) ** 2).mean(), state
    >>> @functools.partial(jax.jit, donate_argnums=0)
    ... def train_step(train, x, y):
    ...     grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    ...     (loss, state), grads = grad_fn(train.params, train.state, train.step_rng(), x, y)
    ...     return train.update(tx, grads, state), loss
    >>> train = ps.TrainState.create(f, tx, jax.random.key(0), x)
    >>> for _ in range(3):
    ...     train, loss = train_step(train, x, y)
    >>> int(train.step)
    3

    All leaves are arrays, so it passes through `jax.jit`, `jax.vmap` and `jax.tree.map`, and
    `ps.checkpoint` saves it. The optimizer `tx` is not part of it: `optax.adam(0.1)` is functions,
    which no file holds, and two of them are never equal, so a train state made with another one
    would be another pytree, for which JAX compiles again.

    `donate_argnums=0` lets JAX reuse the memory of the old train state. Then only the new one may
    be used. JAX raises an error for arrays of the old one.

    Attributes:
      params: the parameters.
      state: the state; `{}` for a function without state.
      opt_state: the state of the optimizer.
      rng: a typed random key. It stays the same during the run; see `step_rng`.
      step: the number of steps done, `int32[]`.
    """

    params: Any
    state: Any
    opt_state: Any
    rng: jax.Array
    step: jax.Array

    @classmethod
    def create(
        cls, f: Any, tx: "Transformation", rng: jax.Array | int, /, *args: Any, **kwargs: Any
    ) -> "TrainState":
        """Returns the train state before the first step.

        Args:
          f: what `ps.transform` or `ps.transform_with_state` returned. With
            `ps.transform_with_collections`, all collections but the params are the state.
          tx: an optax optimizer.
          rng: a random key, or a seed. One half of it makes the params, the other is kept.
          *args: arguments of `f`.
          **kwargs: keyword arguments of `f`.

        Returns:
          A new train state.

        Raises:
          ViewTypeError: `f` is not a transformed function, `tx` is not an optimizer, or `rng` is
            not a random key.
        """
        if not (hasattr(f, "init") and hasattr(f, "apply")):
            raise ViewTypeError(
                "`TrainState.create(f, tx, rng, *args)` takes what ps.transform or"
                f" ps.transform_with_state returned as `f`, but got {kind_of(f)}."
            )
        check_transformation(tx, "`TrainState.create(f, tx, rng, *args)`")
        init_rng, kept_rng = jax.random.split(_key_of(rng))
        made = f.init(init_rng, *args, **kwargs)
        if isinstance(f, TransformedWithCollections):
            params, state = made.get("params", {}), {k: v for k, v in made.items() if k != "params"}
        else:
            params, state = made if isinstance(made, tuple) else (made, {})
        # Copies: optax.lbfgs keeps one array in two places, which could not be donated.
        opt_state = jax.tree.map(jnp.array, first_state(tx, params))
        return cls(params, state, opt_state, kept_rng, jnp.zeros([], jnp.int32))

    def step_rng(self) -> jax.Array:
        """Returns the random key of this step.

        It follows from `rng` and `step`, so you carry no key along, and a resumed run draws
        the same keys. Within one step it is always the same key: split it to get several.

        Returns:
          A random key.
        """
        return jax.random.fold_in(self.rng, self.step)

    def update(
        self, tx: "Transformation", grads: Any, state: Any = None, **extra: Any
    ) -> "TrainState":
        """Takes a step of the optimizer.

        Args:
          tx: the optimizer that the train state was created with.
          grads: the gradients of `params`.
          state: the new state, which `apply` returned. Needed if the function has state.
          **extra: other arguments of the optimizer, such as `value=loss`.

        Returns:
          The train state of the next step.

        Raises:
          ViewError: there is state, and the new one was not given; or `grads`, `params` and the
            state of the optimizer do not fit in structure, shape or kind of dtype.
          ViewTypeError: `tx` is not an optimizer.
        """
        check_transformation(tx, "`TrainState.update(tx, grads, state)`")
        if state is None and self.state:
            raise ViewError(
                "`TrainState.update(tx, grads)` got no new state, but the train state has some."
                " Pass the state that `apply` returned: `train.update(tx, grads, state)`. To keep"
                " the old one, write `train.update(tx, grads, train.state)`."
            )
        check_grads(self.params, grads, True)
        params, opt_state = step(tx, grads, self.opt_state, self.params, True, extra)
        return self._replace(
            params=params,
            state=self.state if state is None else state,
            opt_state=opt_state,
            step=self.step + 1,
        )


def _key_of(rng: Any) -> jax.Array:
    if isinstance(rng, int):
        return jax.random.key(rng)
    dtype: Any = getattr(rng, "dtype", np.float32)
    if not jnp.issubdtype(dtype, jax.dtypes.prng_key) or rng.shape:
        raise ViewTypeError(
            "`TrainState.create(f, tx, rng, *args)` takes one random key, such as"
            f" jax.random.key(0), or a seed, but got {kind_of(rng)}."
        )
    return rng
