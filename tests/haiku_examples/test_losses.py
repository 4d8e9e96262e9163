"""Programs in the shape of dm-haiku's examples train the same under both libraries, to the last bit."""

import functools
from collections.abc import Callable
from typing import Any

import haiku
import jax
import numpy as np
import pytest

import purestate
from tests.haiku_examples import imagenet, impala_lite, mnist, rnn, transformer, vae

STEPS = 20


def as_bits(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    leaf = np.asarray(leaf)
    return leaf.shape, str(leaf.dtype), leaf.tobytes()


def assert_same_bits(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    leaves = zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True)
    differing = [jax.tree_util.keystr(path) for (path, a), b in leaves if as_bits(a) != as_bits(b)]
    assert not differing


@pytest.mark.one_slow_in(2)
# Supervised programs learn their small data in these steps; a reinforcement loss need not go down.
@pytest.mark.parametrize(
    ("train", "goes_down"),
    [
        pytest.param(mnist.train, True, id="mnist"),
        pytest.param(vae.train, True, id="vae", marks=pytest.mark.slow),
        pytest.param(rnn.train, True, id="rnn", marks=pytest.mark.slow),
        pytest.param(transformer.train, True, id="transformer", marks=pytest.mark.slow),
        pytest.param(impala_lite.train, False, id="impala_lite", marks=pytest.mark.slow),
        pytest.param(imagenet.train, True, id="imagenet", marks=pytest.mark.slow),
        pytest.param(
            functools.partial(imagenet.train, half="bfloat16"),
            True,
            id="imagenet-bfloat16",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            functools.partial(imagenet.train, half="float16"),
            True,
            id="imagenet-float16",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            functools.partial(imagenet.train, make_network=imagenet.resnet50),
            True,
            id="imagenet-resnet50",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_same_losses_and_parameters(
    train: Callable[[Any, int], tuple[list[float], Any]], goes_down: bool
) -> None:
    their_losses, left_of_theirs = train(haiku, STEPS)
    our_losses, left_of_ours = train(purestate, STEPS)
    assert len(our_losses) == STEPS
    assert len(set(our_losses)) > STEPS // 2  # it trains
    assert np.isfinite(our_losses).all()
    if goes_down:
        assert np.mean(our_losses[-3:]) < 0.9 * our_losses[0]
    assert as_bits(np.float32(our_losses)) == as_bits(np.float32(their_losses)), (
        our_losses,
        their_losses,
    )
    assert_same_bits(left_of_ours, left_of_theirs)


@pytest.mark.parametrize("example", [mnist, vae, rnn, transformer, impala_lite, imagenet])
def test_losses_are_those_of_training(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "train", lambda L, steps: ([float(steps)], L))
    assert example.losses(purestate, 3) == [3.0]
    assert example.losses(purestate) == [20.0]
