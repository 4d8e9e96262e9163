"""Which parameters to train, according to their specs."""

from collections.abc import Mapping
from typing import Any

import jax

from purestate._core.errors import kind_of
from purestate._core.path import variable_path
from purestate._editing.differences import difference
from purestate._editing.errors import BundleError
from purestate._editing.paths import key_string
from purestate._state.specs import Spec


def has_specs(tree: Any) -> bool:
    """Whether the leaves of a tree are specs."""
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(isinstance(leaf, Spec) for leaf in leaves)


def trainable_mask(specs: Any) -> Any:
    """Returns a bool for each parameter: whether to train it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     table = ps.get_parameter("table", [3], init=jnp.ones, trainable=False)
    ...     return ps.Linear(3)(x) + table
    >>> specs = ps.specs(ps.transform(forward))(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.trainable_mask(specs)
    {'linear': {'b': True, 'w': True}, '~': {'table': False}}

    Args:
      specs: what `ps.specs` returned for any transform. Of `(params, state)`, and of a dict of
        collections, it uses the parameters.

    Returns:
      A tree like the params, with a bool for each array: a mask for optax and `trainable_only`.

    Raises:
      BundleError: `specs` has other leaves than `Spec`.
    """
    return jax.tree.map(lambda spec: spec.trainable, specs_of_params(specs))


def specs_of_params(specs: Any) -> Any:
    """Returns the specs of the parameters, from the result of `ps.specs`."""
    leaves = jax.tree_util.tree_leaves_with_path(specs)
    wrong = [leaf for _, leaf in leaves if not isinstance(leaf, Spec)]
    if wrong:
        raise BundleError(
            "This needs the result of `ps.specs(f)(rng, *args)`, a tree of ps.Spec, but the tree"
            f" has {kind_of(wrong[0])} in it."
        )
    if isinstance(specs, tuple):
        return specs[0]
    # A module may be called "params" too. In collections, the first key is not part of the path.
    in_collections = leaves and leaves[0][1].path != variable_path(
        *(key_string(key) for key in leaves[0][0][:2])
    )
    if isinstance(specs, Mapping) and in_collections:
        return specs.get("params", {})
    return specs


def partition_trainable(params: Any, specs: Any) -> tuple[Any, Any]:
    """Splits parameters into those to train and the frozen ones, both with holes.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     with ps.freeze("linear/*"):
    ...         h = ps.Linear(3)(x)
    ...     return ps.Linear(1)(h)
    >>> f, x = ps.transform(forward), jnp.ones([2, 4])
    >>> params, specs = f.init(jax.random.key(0), x), ps.specs(f)(jax.random.key(0), x)
    >>> trainable, frozen = ps.partition_trainable(params, specs)
    >>> jax.tree.map(jnp.shape, trainable)
    {'linear': {'b': None, 'w': None}, 'linear_1': {'b': (1,), 'w': (3, 1)}}
    >>> def loss(trainable, frozen, x):
    ...     return f.apply(ps.surgery.combine(trainable, frozen), None, x).sum()
    >>> grads = jax.grad(loss)(trainable, frozen, x)  # of the trainable part only

    Args:
      params: the parameters; or all that `init` returned, whose state then counts as frozen.
      specs: what `ps.specs` returned for the same function.

    Returns:
      Two trees of the structure of `params`, each with `None` for the leaves of the other. The
        inverse is `ps.surgery.combine`.

    Raises:
      BundleError: `params` and `specs` have different structures.
    """
    of_params = specs_of_params(specs)
    if difference(params, specs, ("", "")) is None:  # all that `init` returned
        of_params = specs
    where = difference(params, of_params, ("params", "specs"))
    if where is not None:
        raise BundleError(
            f"partition_trainable: params and specs are not of one function: {where}. Both have to"
            " come from the same function: f.init(rng, *args) and ps.specs(f)(rng, *args)."
        )
    leaves, treedef = jax.tree.flatten(params)
    trainable = [spec.trainable for spec in jax.tree.leaves(of_params)]
    kept = treedef.unflatten(
        [leaf if train else None for leaf, train in zip(leaves, trainable, strict=True)]
    )
    return kept, treedef.unflatten(
        [None if train else leaf for leaf, train in zip(leaves, trainable, strict=True)]
    )
