"""Programs in Sonnet's API, written once for both libraries.

Each takes `snt` and `lib` (a few functions of TensorFlow or jax.numpy). Initializers are fixed, so that
both libraries have the same weights, and a recording has only what Sonnet answered.
"""

import numpy as np


def fixed(seed):
    """An initializer that returns the same numbers in both libraries."""

    def init(shape, dtype):
        numbers = np.random.RandomState(seed).standard_normal([int(n) for n in shape])
        return (0.4 * numbers).astype(np.float32)

    return init


XS = np.random.RandomState(100).standard_normal((5, 3, 4)).astype(np.float32)
IMAGES = np.random.RandomState(101).standard_normal((4, 2, 5, 4, 2)).astype(np.float32)
MASK = np.asarray([[2, 0, 2, 2, 0], [0, 0, 0, 2, 2], [2, 2, 2, 2, 2]], np.float32)
LENGTHS = {
    "some": np.asarray([2, 5, 1], np.int32),
    "none and too many": np.asarray([0, 3, 9], np.int32),
    "negative": np.asarray([-1, 4, 5], np.int32),
    "one number": 3,
    "one array": np.asarray(2, np.int32),
    "zero": 0,
}


def gru(snt, size=5, seed=1):
    return snt.GRU(size, w_i_init=fixed(seed), w_h_init=fixed(seed + 1), b_init=fixed(seed + 2))


def lstm(snt, size=5, seed=4, **kwargs):
    return snt.LSTM(
        size, w_i_init=fixed(seed), w_h_init=fixed(seed + 1), b_init=fixed(seed + 2), **kwargs
    )


def vanilla(snt, size=5, seed=7):
    return snt.VanillaRNN(
        size, w_i_init=fixed(seed), w_h_init=fixed(seed + 1), b_init=fixed(seed + 2)
    )


def conv_lstm(snt):
    return snt.Conv2DLSTM([5, 4, 2], 3, 3, w_i_init=fixed(10), w_h_init=fixed(11), b_init=fixed(12))


def skipping(snt):
    """Skip connections around a nested core, in a chain with a layer without a state."""
    inner = snt.DeepRNN([gru(snt, 3), snt.Linear(2, w_init=fixed(13)), vanilla(snt, 4)])
    skip = snt.deep_rnn_with_skip_connections(
        [inner, lstm(snt, 2, projection_size=3, projection_init=fixed(14))]
    )
    return snt.DeepRNN([skip, gru(snt, 6, seed=20)])


def residual(snt):
    cores = [gru(snt, 4), lstm(snt, 4), vanilla(snt, 4)]
    return snt.deep_rnn_with_residual_connections([snt.DeepRNN(cores[:2]), cores[2]])


CORES = {"gru": gru, "lstm": lstm, "vanilla": vanilla, "skipping": skipping, "residual": residual}
UNROLLS = ("static_unroll", "dynamic_unroll")


def with_lengths(core, unroll, lengths):
    def run(snt, lib):
        core_ = CORES[core](snt)
        xs = lib.array(XS)
        length = lib.array(lengths) if isinstance(lengths, np.ndarray) else lengths
        return getattr(snt, unroll)(core_, xs, core_.initial_state(3), length)

    return run


def images(unroll, lengths):
    def run(snt, lib):
        core = conv_lstm(snt)
        return getattr(snt, unroll)(
            core, lib.array(IMAGES), core.initial_state(2), lib.array(lengths)
        )

    return run


def counting(unroll):
    """A function as a core; its state has an array without axes, which goes on past the end."""

    def run(snt, lib):
        def core(x, state):
            total, count = state
            return {"sum": total + x["a"], "count": count}, (total + x["b"], count + 1.0)

        xs = {"a": lib.array(XS), "b": lib.array(2 * XS)}
        state = (lib.zeros([3, 4]), lib.zeros([]))
        return getattr(snt, unroll)(core, xs, state, lib.array(LENGTHS["some"]))

    return run


def masked(unroll):
    """Recurrent dropout, with the masks given."""

    def run(snt, lib):
        core, plain = snt.lstm_with_recurrent_dropout(
            5, 0.5, w_i_init=fixed(1), w_h_init=fixed(2), b_init=fixed(3)
        )
        start = (plain.initial_state(3), snt.LSTMState(lib.array(MASK), None))
        return (
            getattr(snt, unroll)(core, lib.array(XS), start)[0],
            getattr(snt, unroll)(plain, lib.array(XS), plain.initial_state(3)),
        )

    return run


def learned(snt, lib):
    core = snt.DeepRNN([lstm(snt), gru(snt)])
    values = (snt.LSTMState(lib.array(MASK[0]), lib.array(-MASK[0])), lib.array(MASK[1]))
    state = snt.TrainableState(values, (snt.LSTMState(True, False), False), name="start")
    return snt.dynamic_unroll(core, lib.array(XS), state(3))


def one_row_for_all(snt, lib):
    """A state with a batch of one, which becomes that of the inputs."""
    core = lstm(snt)
    return core(lib.array(XS[0]), core.initial_state(1))


def unrolled(snt, lib):
    core = snt.UnrolledLSTM(
        5, w_i_init=fixed(4), w_h_init=fixed(5), b_init=fixed(6), forget_bias=0.5
    )
    start = snt.LSTMState(lib.array(MASK), lib.array(-MASK))
    return core(lib.array(XS), start)


PROGRAMS = {
    **{
        f"{core}, {unroll}, {name}": with_lengths(core, unroll, lengths)
        for core in ("gru", "lstm", "skipping")
        for unroll in UNROLLS
        for name, lengths in LENGTHS.items()
    },
    **{
        f"{core}, {unroll}, all": with_lengths(core, unroll, None)
        for core in CORES
        for unroll in UNROLLS
    },
    **{f"images, {u}": images(u, np.asarray([4, 2], np.int32)) for u in UNROLLS},
    **{f"counting, {u}": counting(u) for u in UNROLLS},
    **{f"masked, {u}": masked(u) for u in UNROLLS},
    "learned": learned,
    "one row for all": one_row_for_all,
    "unrolled": unrolled,
}

GRADIENTS = ("gru", "lstm", "vanilla", "skipping", "residual")
"""Cores whose gradients are recorded: of their weights, unrolled with `LENGTHS["some"]`."""


def weighted(array, lib):
    """A number that depends on all elements, each in its own way."""
    size = int(np.prod(array.shape))
    return lib.sum(
        array * lib.array(np.cos(np.arange(size, dtype=np.float32)).reshape(array.shape))
    )
