"""The same function run with dm-haiku and with purestate: everything has to be the same, bit for bit."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps


def normal(*shape: int, dtype: Any = "float32", seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.RandomState(seed).standard_normal(shape), dtype)


def assert_same(ours: Any, theirs: Any) -> None:
    """Same structure, shapes, dtypes and bytes."""
    our_leaves, our_tree = jax.tree_util.tree_flatten_with_path(_plain(ours))
    their_leaves, their_tree = jax.tree_util.tree_flatten_with_path(_plain(theirs))
    assert our_tree == their_tree
    for (path, a), (_, b) in zip(our_leaves, their_leaves, strict=True):
        where = jax.tree_util.keystr(path)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), (where, a, b)


def _plain(tree: Any) -> Any:
    """Named tuples of both libraries as dicts, to be comparable."""
    if hasattr(tree, "_asdict"):
        return {name: _plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(_plain(value) for value in tree)
    return {key: _plain(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def num_equations(jaxpr: Any) -> int:
    """The number of equations, with those inside of others."""
    inner = jax.tree.leaves(
        [eqn.params for eqn in jaxpr.eqns], is_leaf=lambda x: hasattr(x, "eqns")
    )
    return len(jaxpr.eqns) + sum(
        num_equations(getattr(x, "jaxpr", x)) for x in inner if hasattr(x, "eqns")
    )


class _Run:
    """What one library does."""

    def __init__(self, lib: Any, run: Callable[..., Any], inputs: tuple[Any, ...]):
        f = lib.transform_with_state(lambda *inputs: run(lib, *inputs))
        self.key, self.init_key = jax.random.split(jax.random.key(5))
        self.inputs = inputs
        self.init, self.apply = f

    def loss(self, params: Any, inputs: Any, state: Any) -> Any:
        out, new_state = self.apply(params, state, self.key, *inputs)
        terms = [
            jnp.sum(jnp.sin(x) * x) for x in jax.tree.leaves(out)
        ]  # another weight for each value
        return sum(terms, jnp.zeros([])).astype(jnp.float32), (out, new_state)

    @property
    def all_at_once(self) -> Any:
        """Outputs, new state and gradients."""
        return jax.value_and_grad(self.loss, argnums=(0, 1), has_aux=True, allow_int=True)


def check(run: Callable[..., Any], *inputs: Any, eager: bool = False) -> None:
    """Raises unless `run(lib, *inputs)` is the same with both libraries, and takes no more equations with ours.

    First values, outputs, new state and gradients are compared as jitted, where the same program needs no run, and
    with `eager` also as computed step by step.
    """
    runs = _Run(ps, run, inputs), _Run(hk, run, inputs)
    init_args = runs[0].init_key, *inputs
    shapes = [jax.eval_shape(r.init, *init_args) for r in runs]
    assert _names(shapes[0]) == _names(shapes[1])
    assert shapes[0] == shapes[1]
    _check_results([r.init for r in runs], init_args, eager=eager)
    # Other values than the first ones, of which many are zero.
    params, state = jax.tree.map(lambda x: normal(*x.shape, dtype=x.dtype), shapes[0])
    jaxprs = [jax.make_jaxpr(r.apply)(params, state, r.key, *inputs).jaxpr for r in runs]
    assert num_equations(jaxprs[0]) <= num_equations(jaxprs[1])
    _check_results([r.all_at_once for r in runs], (params, inputs, state), eager=eager)


def _names(variables: Any) -> Any:
    """The modules and their variables, in order."""
    return [(module, list(names)) for bundle in variables for module, names in bundle.items()]


def _check_results(functions: list[Callable[..., Any]], args: Any, *, eager: bool) -> None:
    if eager:
        assert_same(*(_arrays(f(*args)) for f in functions))
    assert _plain(jax.eval_shape(functions[0], *args)) == _plain(
        jax.eval_shape(functions[1], *args)
    )
    lowered = [jax.jit(f).lower(*args) for f in functions]
    texts = [
        program.as_text().partition("\n")[2] for program in lowered
    ]  # without the name of the function
    if texts[0] != texts[1]:
        assert_same(*(_arrays(program.compile()(*args)) for program in lowered))


def _arrays(results: Any) -> Any:
    """Without the gradients of integers, which have no bytes to compare."""
    return jax.tree.map(lambda x: np.zeros([]) if x.dtype == jax.dtypes.float0 else x, results)
