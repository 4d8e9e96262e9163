"""What a function can ask of its own run: names, mode, and all variables at once."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import purestate as ps


def answers(lib):
    """All that can be asked, at several places of a program."""
    found = []

    class Net(lib.Module):
        def __init__(self):
            super().__init__()
            found.append(lib.experimental.current_name() if lib is hk else lib.current_name())

        def __call__(self):
            lib.get_parameter("w", [], init=jnp.ones)
            lib.get_state("n", [], init=jnp.zeros)
            lib.set_state("n", jnp.ones([]))
            ask()

    def ask():
        name = lib.experimental.current_name() if lib is hk else lib.current_name()
        values = lib.get_params(), lib.get_initial_state(), lib.get_current_state()
        found.append((name, lib.running_init(), jax.tree.map(float, values)))

    def f():
        ask()
        net = Net()
        net()
        net()
        ask()

    pair = lib.transform_with_state(f)
    params, state = pair.init(None)
    pair.apply(params, state, None)
    return found


def test_as_in_dm_haiku():
    assert answers(ps) == answers(hk)
    assert answers(ps)[0] == ("~", True, ({}, {}, {}))
    assert answers(ps)[2][0] == "net"


@pytest.mark.parametrize(
    "ask",
    [ps.get_params, ps.get_initial_state, ps.get_current_state, ps.current_name, ps.running_init],
    ids=lambda f: f.__name__,
)
def test_only_inside_of_a_run(ask):
    with pytest.raises(ps.errors.FrameError, match=f"ps.{ask.__name__}"):
        ask()


@pytest.mark.parametrize(
    "lift",
    [
        lambda f: f(),
        lambda f: ps.remat(f)(),
        lambda f: ps.jit(f)(),
        lambda f: ps.cond(True, f, f),
        lambda f: ps.scan(lambda c, _: (c, f()), 0, None, length=2),
        lambda f: ps.vmap(lambda _: f(), split_rng=False)(jnp.ones([2])),
        lambda f: ps.grad(lambda x: x * f())(1.0),
    ],
)
def test_the_answers_inside_of_transforms(lift):
    seen = set()

    def ask():
        w = ps.get_parameter("w", [], init=jnp.ones)
        seen.add((ps.current_name(), ps.running_init(), "w" in ps.get_params()["~"]))
        return w

    f = ps.transform(lambda: lift(ask))
    f.apply(f.init(None), None)
    assert seen == {("~", True, True), ("~", False, True)}
