"""Transformed functions as modules of flax: as dm-haiku's, and as the function alone."""

from typing import Any

import flax.core
import flax.errors
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate.experimental import flax as ps_flax

X = jnp.asarray(np.random.RandomState(0).standard_normal([4, 6]), jnp.float32)


def assert_same_bits(ours: Any, theirs: Any) -> None:
    our_leaves, our_tree = jax.tree_util.tree_flatten_with_path(ours)
    their_leaves, their_tree = jax.tree_util.tree_flatten_with_path(theirs)
    assert our_tree == their_tree
    for (path, a), (_, b) in zip(our_leaves, their_leaves, strict=True):
        where = jax.tree_util.keystr(path)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where


def net_of(lib: Any) -> Any:
    """A function with parameters, state and random keys, in and outside modules."""

    def f(x: Any, is_training: bool = True) -> Any:
        x = lib.nets.MLP([8, 3], activate_final=True)(x)
        x = lib.BatchNorm(True, True, 0.9)(x, is_training=is_training)
        if is_training and lib.maybe_next_rng_key() is not None:
            x = lib.dropout(lib.next_rng_key(), 0.5, x)
        lib.set_state("calls", lib.get_state("calls", [], jnp.int32, init=jnp.zeros) + 1)
        return x * lib.get_parameter("scale", [3], init=lib.initializers.RandomNormal())

    return f


class Inside(nn.Module):
    """A module of flax with modules of flax, of purestate, and of flax, in it."""

    lib: Any
    wrap: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Dense(6)(x)
        x = self.wrap(self.lib.transform_with_state(net_of(self.lib)), name="net")(x)
        return nn.Dense(2)(self.wrap.create(self.lib.Linear, 4)(x))


def both(make: Any) -> list[Any]:
    return [make(ps, ps_flax.Module), make(hk, hk.experimental.flax.Module)]


@pytest.mark.parametrize(
    ("make", "rngs"),
    [
        (lambda lib, wrap: wrap(lib.transform_with_state(net_of(lib))), {}),
        (
            lambda lib, wrap: wrap(lib.transform_with_state(net_of(lib))),
            {"apply": jax.random.PRNGKey(5)},
        ),
        (lambda lib, wrap: Inside(lib, wrap), {"apply": jax.random.key(6)}),
    ],
)
def test_variables_and_steps_as_in_dm_haiku(make: Any, rngs: Any):
    results: list[Any] = []
    for module in both(make):
        variables = module.init({"params": jax.random.PRNGKey(2), **rngs}, X)
        steps: list[Any] = [variables]

        def loss(params: Any, rest: Any, module: Any = module) -> Any:
            out, changed = module.apply({"params": params, **rest}, X, rngs=rngs, mutable=["state"])
            return jnp.sum(out**2), (out, changed)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        params, rest = variables["params"], {"state": variables["state"]}
        for _ in range(3):
            (_, (out, rest)), grads = step(params, rest)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
            steps.append((params, rest, out))
        steps.append(module.apply({"params": params, **rest}, X, rngs=rngs, mutable=["state"]))
        results.append(steps)
    assert_same_bits(*results)


def test_computes_what_the_function_computes():
    f = ps.transform_with_state(net_of(ps))
    module = ps_flax.Module(f)
    variables = module.init(jax.random.key(0), X)
    params, state = (ps_flax.flatten_flax_to_haiku(variables[name]) for name in ("params", "state"))
    out, changed = module.apply(variables, X, rngs={"apply": jax.random.key(1)}, mutable=["state"])

    class Key(nn.Module):
        def __call__(self) -> Any:
            return self.make_rng("apply")

    key = Key().apply({}, rngs={"apply": jax.random.key(1)})
    expected, new_state = f.apply(params, state, key, X)
    assert_same_bits(out, expected)
    assert_same_bits(ps_flax.flatten_flax_to_haiku(changed["state"]), new_state)
    assert jax.tree.structure((params, state)) == jax.tree.structure(f.init(jax.random.key(0), X))


def test_function_without_state_inside_a_module_of_flax():
    # dm-haiku refuses it: flax does not let it change `transformed` any more.
    f = ps.transform(lambda x: ps.Linear(3)(x))

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return ps_flax.Module(f, name="inner")(x)

    variables = Outer().init(jax.random.key(0), X)
    assert list(variables) == ["params"]
    assert_same_bits(Outer().apply(variables, X), f.apply(variables["params"]["inner"], None, X))


def test_create_makes_a_module_of_a_class():
    results: list[Any] = []
    for lib, wrap in ((ps, ps_flax.Module), (hk, hk.experimental.flax.Module)):
        module = wrap.create(lib.BatchNorm, True, create_offset=False, decay_rate=0.9)
        variables = module.init(jax.random.PRNGKey(0), X, is_training=True)
        results.append((variables, module.apply(variables, X, False)))
        assert type(module) is wrap
    assert_same_bits(*results)


def test_variables_are_not_copied():
    f = ps.transform(lambda: ps.get_parameter("w", [2], init=jnp.ones))
    module = ps_flax.Module(f)
    variables = module.init(jax.random.key(0))
    assert variables == {"params": {"~": {"w": variables["params"]["~"]["w"]}}}
    assert module.apply(variables) is variables["params"]["~"]["w"]
    assert module.apply(flax.core.freeze(variables)) is variables["params"]["~"]["w"]


def counter() -> Any:
    n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
    ps.set_state("n", n + 1)
    return n


def test_state_that_is_set_has_to_be_mutable():
    module = ps_flax.Module(ps.transform_with_state(counter))
    variables = module.init(jax.random.key(0))
    assert variables["state"] == {"~": {"n": 0}}
    with pytest.raises(flax.errors.ModifyScopeVariableError):
        module.apply(variables)
    for n in range(3):
        out, variables = module.apply(variables, mutable=["state"])
        assert (out, variables["state"]["~"]["n"]) == (n, n + 1)


def test_state_that_is_only_read_need_not_be_mutable():
    module = ps_flax.Module(
        ps.transform_with_state(lambda: ps.get_state("n", [], jnp.int32, init=jnp.zeros))
    )
    variables = module.init(jax.random.key(0))
    assert module.apply(variables) is variables["state"]["~"]["n"]


def test_state_that_apply_makes_is_kept_where_state_is_mutable():
    # dm-haiku drops it.
    module = ps_flax.Module(ps.transform_with_state(lambda count: counter() if count else None))
    variables = module.init(jax.random.key(0), False)
    assert "state" not in variables
    for n in range(3):
        out, variables = module.apply(variables, True, mutable=["state"])
        assert (out, variables["state"]["~"]["n"]) == (n, n + 1)
    assert module.apply({}, True) == 0


def test_under_flax_transforms():
    # Two copies, side by side, each with parameters and a key of its own.
    twice = nn.vmap(
        ps_flax.Module,
        in_axes=None,
        axis_size=2,
        variable_axes={"params": 0, "state": 0},
        split_rngs={"params": True, "apply": True},
    )
    f = ps.transform_with_state(lambda x: (ps.Linear(3)(x), counter()))
    variables = twice(f).init(jax.random.key(0), X)
    w = variables["params"]["linear"]["w"]
    assert w.shape == (2, 6, 3)
    assert not jnp.array_equal(w[0], w[1])
    (out, counts), changed = twice(f).apply(variables, X, mutable=["state"])
    np.testing.assert_allclose(out, jnp.einsum("bi,kij->kbj", X, w), rtol=1e-5, atol=1e-5)
    assert counts.tolist() == [0, 0]
    assert changed["state"]["~"]["n"].tolist() == [1, 1]


@pytest.mark.parametrize("value", [ps.Linear, lambda x: x, 3])
def test_what_is_not_transformed_is_an_error(value: Any):
    with pytest.raises(TypeError, match="transform") as caught:
        ps_flax.Module(value)
    if value is ps.Linear:
        assert "Module.create(Linear" in str(caught.value)


def test_attributes_are_those_of_flax():
    module = ps_flax.Module(ps.transform(lambda x: x), name="net")
    assert module.name == "net"
    assert isinstance(module.transformed, ps.TransformedWithState)
    assert module.clone(name="other").name == "other"
    assert hash(module) == hash(module.clone())
