"""Which parameters are to be trained, by what their specs say."""

from collections.abc import Mapping
from typing import Any

import jax

from purestate._core.errors import kind_of
from purestate._core.path import variable_path
from purestate._core.specs import Spec
from purestate._editing.differences import difference
from purestate._editing.errors import BundleError
from purestate._editing.paths import key_string


def has_specs(tree: Any) -> bool:
    """Whether a tree has specs for leaves."""
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(isinstance(leaf, Spec) for leaf in leaves)


def trainable_mask(specs: Any) -> Any:
    """Returns, for each parameter, whether it is to be trained.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     table = ps.get_parameter("table", [3], init=jnp.ones, trainable=False)
    ...     return ps.Linear(3)(x) + table
    >>> specs = ps.specs(ps.transform(forward))(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.trainable_mask(specs)
    {'linear': {'b': True, 'w': True}, '~': {'table': False}}

    Args:
      specs: what `ps.specs` gave for any transform. Of `(params, state)` and of a dict of
        collections, it is the parameters that count.

    Returns:
      A tree like the params, with a bool for each array. optax takes it as a mask, and so does
        `trainable_only`.

    Raises:
      BundleError: `specs` has other leaves than `Spec`s.
    """
    return jax.tree.map(lambda spec: spec.trainable, specs_of_params(specs))


def specs_of_params(specs: Any) -> Any:
    """Returns that part of what `ps.specs` gave that is about the parameters."""
    leaves = jax.tree_util.tree_leaves_with_path(specs)
    wrong = [leaf for _, leaf in leaves if not isinstance(leaf, Spec)]
    if wrong:
        raise BundleError(
            "This needs what `ps.specs(f)(rng, *args)` gives, a tree of ps.Spec, but it has"
            f" {kind_of(wrong[0])} in it."
        )
    if isinstance(specs, tuple):
        return specs[0]
    # A module may be called "params" too; in collections the first key is not part of a variable's
    # path.
    in_collections = leaves and leaves[0][1].path != variable_path(
        *(key_string(key) for key in leaves[0][0][:2])
    )
    if isinstance(specs, Mapping) and in_collections:
        return specs.get("params", {})
    return specs


def partition_trainable(params: Any, specs: Any) -> tuple[Any, Any]:
    """Takes parameters apart into those that are to be trained and the others, with holes.

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
    >>> grads = jax.grad(loss)(trainable, frozen, x)  # of what is to be trained, and nothing else

    Args:
      params: the parameters; or all that `init` returned, whose state then counts as not to be
        trained.
      specs: what `ps.specs` gave for the same function.

    Returns:
      Two trees of the structure of `params`, with `None` for what is in the other. The inverse is
        `ps.surgery.combine`.

    Raises:
      BundleError: `params` and `specs` are not of one structure.
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
