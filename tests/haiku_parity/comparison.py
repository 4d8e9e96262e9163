"""A row of a table run with dm-haiku and with purestate, and what differs in bits."""

import contextlib
from collections.abc import Callable
from typing import Any

import haiku
import jax
import jax.numpy as jnp
import numpy as np

import purestate
from tests.haiku_parity.table_layers import Row, inputs_of

LIBRARIES = (purestate, haiku)
MODES = ("eager", "jit")
PARTS = ("init", "apply", "gradients")


def precision_of(dtype: str) -> Any:
    """64 bits where `dtype` has them."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def transformed(lib: Any, row: Row) -> Any:
    return lib.transform_with_state(lambda *inputs: row.run(lib, *inputs))


def compare(
    row: Row, dtype: str, mode: str, parts: tuple[str, ...] = PARTS
) -> dict[str, list[str]]:
    """Returns for each part what differs, which should be nothing.

    Eagerly with a typed key, under `jit` with a raw one. `init`: the variables that `init` makes. `apply`: outputs and
    new state. `gradients`: both once more, the loss, and its gradients by parameters and inputs.
    """
    results_of = _eagerly if mode == "eager" else _jitted
    with precision_of(dtype):
        inputs = inputs_of(row, dtype)
        make_key = jax.random.key if mode == "eager" else jax.random.PRNGKey
        init_key, key = jax.random.split(make_key(7))
        ours, theirs = (transformed(lib, row) for lib in LIBRARIES)
        params, state = jax.eval_shape(theirs.init, init_key, *inputs)
        # Values other than the first ones, of which many are zero. Some state is a variance.
        variables = (
            jax.tree.map(_some_values, params),
            jax.tree.map(lambda x: abs(_some_values(x)), state),
        )
        calls: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
            "init": (lambda f: f.init, (init_key, *inputs)),
            "apply": (lambda f: f.apply, (*variables, key, *inputs)),
            "gradients": (
                lambda f: _gradients(f, inputs),
                (variables[0], [x for x in inputs if _is_float(x)], variables[1], key),
            ),
        }
        found = {}
        for part in parts:
            make, args = calls[part]
            results = results_of(make(ours), make(theirs), args)
            found[part] = differences(*results) if results else []
            if results and part != "init":
                found[part] += _not_numbers(results[1])
        return found


def _eagerly(ours: Callable[..., Any], theirs: Callable[..., Any], args: Any) -> Any:
    return ours(*args), theirs(*args)


def _jitted(ours: Callable[..., Any], theirs: Callable[..., Any], args: Any) -> Any:
    lowered = [jax.jit(lambda *args, f=f: plain(f(*args))).lower(*args) for f in (ours, theirs)]
    if lowered[0].as_text() == lowered[1].as_text():
        return None  # the same program needs no run
    return [program.compile()(*args) for program in lowered]


def _gradients(f: Any, inputs: list[Any]) -> Callable[..., Any]:
    def loss(params: Any, floats: list[Any], state: Any, key: Any) -> Any:
        rest = iter(floats)
        out, new_state = f.apply(
            params, state, key, *[next(rest) if _is_float(x) else x for x in inputs]
        )
        # Gradients that differ from value to value, so that no sum of them is zero.
        terms = [jnp.sum(jnp.sin(x) * x) for x in jax.tree.leaves(out) if _is_float(x)]
        return sum(terms, jnp.zeros([])).astype(jnp.float32), (out, new_state)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _some_values(x: Any) -> Any:
    return jnp.asarray(np.sin(1.0 + np.arange(x.size)).reshape(x.shape), x.dtype)


def plain(tree: Any) -> Any:
    """Named tuples of both libraries as dicts, to be comparable."""
    if hasattr(tree, "_asdict"):
        return {name: plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(plain(value) for value in tree)
    return {key: plain(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def differences(ours: Any, theirs: Any) -> list[str]:
    """Returns where two results differ in structure, shape, dtype or bytes."""
    ours, theirs = plain(ours), plain(theirs)
    if jax.tree.structure(ours) != jax.tree.structure(theirs):
        return [f"structure: {jax.tree.structure(ours)}, dm-haiku {jax.tree.structure(theirs)}"]
    found = []
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True
    ):
        where = jax.tree_util.keystr(path)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            found.append(f"{where}: {a.shape} {a.dtype}, dm-haiku {b.shape} {b.dtype}")
        # Bytes, since arrays that compare equal may differ: 0.0 and -0.0.
        elif np.asarray(a).tobytes() != np.asarray(b).tobytes():
            found.append(f"{where}: {_ulps(a, b)} units in the last place")
    return found


def _not_numbers(results: Any) -> list[str]:
    """Results that are no numbers, and so show nothing. (Averages of dm-haiku begin as 0 / 0 where a decay rounds to 1.)"""
    leaves = jax.tree_util.tree_leaves_with_path(plain(results))
    return [
        f"{jax.tree_util.keystr(path)}: not a number"
        for path, leaf in leaves
        if _is_float(leaf) and bool(jnp.isnan(leaf).any())
    ]


def _ulps(a: Any, b: Any) -> Any:
    def as_integers(x: Any) -> Any:
        x = np.asarray(x)
        bits = x.view(f"int{8 * x.dtype.itemsize}").astype(object)  # of any size
        return np.where(bits >= 0, bits, -(2 ** (8 * x.dtype.itemsize - 1)) - bits)

    return np.max(np.abs(as_integers(a) - as_integers(b)))
