"""Messages of Sonnet's cores, their states and the functions that unroll them."""

from collections.abc import Callable
from typing import Any

import numpy as np

import purestate.sonnet as snt
from tests.messages.cases_sonnet_layers import inside
from tests.messages.helpers import X, zeros

SEQUENCE = zeros(4, 2, 3)
HALF = np.zeros([2, 3], np.float16)


def steps(make: Callable[[], Any], *inputs: Any, batch_size: Any = 2) -> Callable[[], Any]:
    """Makes a core, and runs it on one input after the other from its initial state."""

    def run() -> None:
        core = make()
        for x in inputs:
            core(x, core.initial_state(batch_size))

    return inside(run)


class NoState(snt.RNNCore):
    def __call__(self, inputs: Any, prev_state: Any) -> Any:
        return inputs, prev_state


class NoStep(snt.UnrolledRNN):
    def initial_state(self, batch_size: int, **kwargs: Any) -> Any:
        return zeros(batch_size)


class Summing(snt.RNNCore):
    """Drops the last axis."""

    def __call__(self, inputs: Any, prev_state: Any) -> Any:
        return inputs.sum(0), prev_state

    def initial_state(self, batch_size: int, **kwargs: Any) -> Any:
        return None


def skipping(*cores: Any) -> Any:
    return snt.deep_rnn_with_skip_connections(list(cores))


def residual(*cores: Any) -> Any:
    return snt.deep_rnn_with_residual_connections(list(cores))


def chain() -> Any:
    return snt.DeepRNN([snt.GRU(4), snt.GRU(5)])


def images_of_two_sizes() -> None:
    core = snt.Conv1DLSTM([5, 2], 3, 2)
    core(zeros(1, 6, 2), core.initial_state(1))


def unrolled(core: Any, sequence: Any, state: Any = None, *lengths: Any) -> Callable[[], Any]:
    return inside(lambda: snt.static_unroll(core, sequence, state, *lengths))


def echo(x: Any, state: Any) -> Any:
    return x, state


CORES: dict[str, Callable[[], Any]] = {
    "a core without initial_state": steps(NoState, X),
    "a network without a step": steps(NoStep, SEQUENCE),
    "GRU, batch_size": steps(lambda: snt.GRU(4), X, batch_size=None),
    "GRU of a sequence": steps(lambda: snt.GRU(4), SEQUENCE),
    "GRU, another dtype": steps(lambda: snt.GRU(4), HALF),
    "GRU, another number of features": steps(lambda: snt.GRU(4), X, zeros(2, 5)),
    "GRU, a state of another batch": steps(lambda: snt.GRU(4), X, batch_size=3),
    "GRU, weights before a call": inside(lambda: snt.GRU(4).input_to_hidden),
    "LSTM, a tuple as state": inside(lambda: snt.LSTM(4)(X, (zeros(2, 4), zeros(2, 4)))),  # type: ignore
    "LSTM, projection_init without a size": inside(
        lambda: snt.LSTM(4, projection_init=snt.initializers.Ones())
    ),
    "lstm_with_recurrent_dropout, dropout": inside(
        lambda: snt.lstm_with_recurrent_dropout(4, dropout=1.0)
    ),
    "UnrolledLSTM, a state of another batch": steps(
        lambda: snt.UnrolledLSTM(4), SEQUENCE, batch_size=3
    ),
    "UnrolledLSTM without steps": steps(lambda: snt.UnrolledLSTM(4), zeros(0, 2, 3)),
    "Conv1DLSTM of another size": inside(images_of_two_sizes),
}

CHAINS: dict[str, Callable[[], Any]] = {
    "DeepRNN, too few states": inside(lambda: chain()(X, (zeros(2, 4),))),
    "skip connections without cores": steps(skipping, X),
    "skip connections, another layer": inside(lambda: skipping(snt.GRU(4), snt.Linear(4))),
    "skip connections of other shapes": inside(
        lambda: skipping(Summing(), Summing())(X, (None, None))
    ),
    "residual connections of other shapes": steps(lambda: residual(snt.GRU(4)), X),
}

UNROLLED: dict[str, Callable[[], Any]] = {
    "static_unroll without arrays": unrolled(echo, []),
    "static_unroll of a number": unrolled(echo, 1.0),
    "static_unroll, two lengths": unrolled(echo, [zeros(4, 2), zeros(5, 2)]),
    "static_unroll without steps": unrolled(echo, zeros(0, 2)),
    "static_unroll, sequence_length": unrolled(echo, SEQUENCE, zeros(2), np.array([1, 2, 3])),
    "TrainableState of None": inside(lambda: snt.TrainableState((zeros(3), None))),
    "TrainableState, a short mask": inside(lambda: snt.TrainableState((X, X), (True,))),
    "TrainableState, a list as mask": inside(lambda: snt.TrainableState((X, X), [True, True])),
}


CASES = {**CORES, **CHAINS, **UNROLLED}
