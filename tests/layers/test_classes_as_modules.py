"""A class of modules where a module is needed: the error says to make an instance."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([2, 4])
SEQUENCE = jnp.ones([3, 2, 4])


class Custom(ps.RNNCore):
    """A class of the user's own."""

    def __call__(self, inputs: Any, prev_state: Any) -> Any:
        return inputs, prev_state

    def initial_state(self, batch_size: int | None) -> Any:
        return jnp.zeros([])


TAKERS = {
    "Sequential": lambda cls: ps.Sequential([jax.nn.relu, cls])(X),
    "DeepRNN": lambda cls: ps.DeepRNN([ps.LSTM(4), cls]),
    "skip": lambda cls: ps.deep_rnn_with_skip_connections([ps.LSTM(4), cls]),
    "residual": lambda cls: ps.deep_rnn_with_residual_connections([ps.LSTM(4), cls]),
    "Bidirectional": lambda cls: ps.Bidirectional(ps.LSTM(4), cls),
    "Bidirectional, first": lambda cls: ps.Bidirectional(cls, ps.LSTM(4)),
    "ResetCore": lambda cls: ps.ResetCore(cls),
    "RecurrentDropout": lambda cls: ps.RecurrentDropout(cls, 0.5, True),
    "TrainableInitialState": lambda cls: ps.TrainableInitialState(cls),
    "static_unroll": lambda cls: ps.static_unroll(cls, SEQUENCE, X),
    "dynamic_unroll": lambda cls: ps.dynamic_unroll(cls, SEQUENCE, X),
    "BatchApply": lambda cls: ps.BatchApply(cls)(SEQUENCE),
    "expand_apply": lambda cls: ps.expand_apply(cls)(X),
    "MultiMetric": lambda cls: ps.metrics.MultiMetric(loss=cls),
    "to_module": lambda cls: ps.to_module(cls)()(X),
}
CLASSES = {
    "Linear": ps.Linear,
    "LSTM": ps.LSTM,
    "Mean": ps.metrics.Mean,
    "MLP": ps.nets.MLP,
    "Custom": Custom,
    "FunctionModule": ps.to_module(jnp.tanh),
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("taker", TAKERS)
def test_it_says_to_make_an_instance(taker, name):
    f = ps.transform_with_state(lambda: TAKERS[taker](CLASSES[name]))
    words = rf"given the class {name}. Make an instance of it: {name}\(\.\.\.\)"
    with pytest.raises(ps.errors.ArgumentError, match=words):
        f.init(jax.random.key(0))


def test_other_classes_are_functions():
    f = ps.transform(lambda: ps.Sequential([list, tuple])("ab"))
    assert f.apply({}, None) == ("a", "b")
