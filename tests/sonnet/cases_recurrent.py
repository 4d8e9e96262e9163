"""Cores, unrolls and states."""

import numpy as np

from tests.sonnet.table import Call, Case, values

X, SEQUENCE = values(3, 5), values(4, 3, 5)
H, C = values(3, 6, seed=1), values(3, 6, seed=2)
LENGTHS = np.asarray([2, 4, 1], np.int32)


def first_step(lib, core, x, **kwargs):
    return core(x, core.initial_state(x.shape[0], **kwargs))


def two_steps(lib, core, x):
    output, state = core(x, core.initial_state(x.shape[0]))
    return core(2.0 * x, state)


def lstm_step(lib, core, x, h, c):
    return core(x, lib.snt.LSTMState(h, c))


def static(lib, core, x, **kwargs):
    return lib.snt.static_unroll(core, x, core.initial_state(x.shape[1]), **kwargs)


def dynamic(lib, core, x, **kwargs):
    return lib.snt.dynamic_unroll(core, x, core.initial_state(x.shape[1]), **kwargs)


CORES = {
    "VanillaRNN(6)": lambda snt, lib: snt.VanillaRNN(6),
    "VanillaRNN relu": lambda snt, lib: snt.VanillaRNN(6, lib.relu),
    "VanillaRNN all by position": lambda snt, lib: snt.VanillaRNN(
        6,
        lib.tanh,
        snt.initializers.RandomNormal(),
        snt.initializers.Ones(),
        snt.initializers.Constant(0.5),
        lib.float32,
        "vanilla",
    ),
    "GRU(6)": lambda snt, lib: snt.GRU(6),
    "GRU by keyword": lambda snt, lib: snt.GRU(
        hidden_size=6,
        w_i_init=snt.initializers.Constant(0.1),
        w_h_init=snt.initializers.Orthogonal(),
        b_init=snt.initializers.Ones(),
        name="gated",
    ),
    "LSTM(6)": lambda snt, lib: snt.LSTM(6),
    "LSTM projection_size": lambda snt, lib: snt.LSTM(6, 4),
    "LSTM projection_init": lambda snt, lib: snt.LSTM(
        6, projection_size=2, projection_init=snt.initializers.Constant(0.2)
    ),
    "LSTM forget_bias=0": lambda snt, lib: snt.LSTM(6, forget_bias=0.0),
    "LSTM forget_bias=2.5": lambda snt, lib: snt.LSTM(
        6, b_init=snt.initializers.Ones(), forget_bias=2.5, name="remembers"
    ),
    "LSTM initializers": lambda snt, lib: snt.LSTM(
        6,
        w_i_init=snt.initializers.Constant(0.1),
        w_h_init=snt.initializers.Constant(-0.1),
        b_init=snt.initializers.Zeros(),
    ),
    "DeepRNN of LSTM, GRU": lambda snt, lib: snt.DeepRNN([snt.LSTM(6), snt.GRU(4)]),
    "DeepRNN with functions": lambda snt, lib: snt.DeepRNN(
        [snt.Linear(4), lib.relu, snt.VanillaRNN(6), lib.tanh, snt.Linear(2)], name="deep"
    ),
    "DeepRNN of two LSTMs": lambda snt, lib: snt.DeepRNN(layers=[snt.LSTM(6), snt.LSTM(6)]),
    "DeepRNN without cores": lambda snt, lib: snt.DeepRNN([snt.Linear(4), lib.relu]),
    "DeepRNN in DeepRNN": lambda snt, lib: snt.DeepRNN(
        [snt.DeepRNN([snt.GRU(4), snt.Linear(3)]), snt.LSTM(5)]
    ),
    "skip connections": lambda snt, lib: snt.deep_rnn_with_skip_connections(
        [snt.LSTM(4), snt.GRU(5)]
    ),
    "skip connections, last output": lambda snt, lib: snt.deep_rnn_with_skip_connections(
        [snt.LSTM(4), snt.LSTM(5)], concat_final_output=False, name="skipping"
    ),
    "skip connections, three": lambda snt, lib: snt.deep_rnn_with_skip_connections(
        [snt.VanillaRNN(4), snt.VanillaRNN(3), snt.GRU(2)], True
    ),
    "residual connections": lambda snt, lib: snt.deep_rnn_with_residual_connections(
        [snt.LSTM(5), snt.GRU(5)]
    ),
    "residual connections, named": lambda snt, lib: snt.deep_rnn_with_residual_connections(
        [snt.VanillaRNN(5), snt.VanillaRNN(5)], "residual"
    ),
    "lstm_with_recurrent_dropout, rate 0": lambda snt, lib: snt.lstm_with_recurrent_dropout(
        6, dropout=0.0
    )[0],
    "lstm_with_recurrent_dropout, test": lambda snt, lib: snt.lstm_with_recurrent_dropout(
        6, 0.3, seed=1, forget_bias=0.5
    )[1],
}

STEPS = [
    Case(f"{name}, {what}", build, calls)
    for name, build in CORES.items()
    for what, calls in {
        "steps": (Call(X, run=first_step), Call(X, run=two_steps)),
        "static_unroll": (Call(SEQUENCE, run=static),),
        "dynamic_unroll": (Call(SEQUENCE, run=dynamic),),
    }.items()
]


def weights_of(lib, core, x):
    first_step(lib, core, x)
    return lib.square(core.input_to_hidden), lib.square(core.hidden_to_hidden)


def nested(snt, lib):
    class Pair(snt.RNNCore):
        """A core whose inputs, outputs and states are dicts and tuples."""

        def __init__(self):
            super().__init__()
            self.gru = snt.GRU(4)

        def __call__(self, inputs, prev_state):
            output, state = self.gru(inputs["x"], prev_state["gru"])
            count = prev_state["count"] + 1.0
            return {"y": output, "last": (inputs["x"], count)}, {"gru": state, "count": count}

        def initial_state(self, batch_size):
            return {
                "gru": self.gru.initial_state(batch_size),
                "count": lib.zeros([batch_size, 1]),
            }

    return Pair()


def nested_unroll(name):
    def run(lib, core, x, **kwargs):
        unroll = getattr(lib.snt, name)
        return unroll(core, {"x": x}, core.initial_state(x.shape[1]), **kwargs)

    return run


def own_unrolled(snt, lib):
    class Sums(snt.UnrolledRNN):
        def __init__(self):
            super().__init__(name="sums")
            self.linear = snt.Linear(2)

        def __call__(self, input_sequence, initial_state):
            steps = self.linear(input_sequence)
            total = initial_state + lib.sum(steps, axis=0)
            return steps, total

        def initial_state(self, batch_size):
            return lib.zeros([batch_size, 2])

    return Sums()


def learned(snt, lib):
    class Learned(snt.Module):
        def __init__(self):
            super().__init__()
            self.core = snt.GRU(4)
            self.start = snt.TrainableState.for_core(self.core, name="start")

        def __call__(self, x):
            return snt.dynamic_unroll(self.core, x, self.start(x.shape[1]))

    return Learned()


UNROLLS = {"static_unroll": static, "dynamic_unroll": dynamic}
LENGTH_CORES = (
    "VanillaRNN(6)",
    "GRU(6)",
    "LSTM(6)",
    "DeepRNN of LSTM, GRU",
    "skip connections",
    "LSTM projection_size",
)
WITH_LENGTHS = [
    Case(
        f"{name}, {unroll} with sequence_length",
        CORES[name],
        (
            Call(SEQUENCE, sequence_length=LENGTHS, run=run),
            Call(SEQUENCE, sequence_length=np.asarray([4, 4, 4], np.int32), run=run),
            Call(SEQUENCE, sequence_length=np.asarray([0, 3, 9], np.int32), run=run),
        ),
    )
    for name in LENGTH_CORES
    for unroll, run in UNROLLS.items()
]
OPTIONS = [
    Case(
        "GRU(6), dynamic_unroll with its other options",
        CORES["GRU(6)"],
        (Call(SEQUENCE, parallel_iterations=2, swap_memory=True, run=dynamic),),
    ),
    Case(
        "GRU(6), unrolls of one step",
        CORES["GRU(6)"],
        (Call(SEQUENCE[:1], run=static), Call(SEQUENCE[:1], run=dynamic)),
    ),
    Case(
        "unrolls of a nest",
        nested,
        (
            Call(SEQUENCE, run=nested_unroll("static_unroll")),
            Call(SEQUENCE, run=nested_unroll("dynamic_unroll")),
            Call(SEQUENCE, sequence_length=LENGTHS, run=nested_unroll("static_unroll")),
        ),
    ),
    Case(
        "LSTM(6), given state",
        CORES["LSTM(6)"],
        (Call(X, H, C, run=lstm_step),),
    ),
    Case("GRU(6), given state", CORES["GRU(6)"], (Call(X, H), Call(inputs=X, prev_state=C))),
    Case("VanillaRNN(6), given state", CORES["VanillaRNN(6)"], (Call(X, H), Call(X, C))),
    Case(
        "LSTM float16",
        lambda snt, lib: snt.LSTM(6, dtype=lib.float16),
        (Call(X.astype(np.float16), run=first_step),),
        tolerance=5e-3,
    ),
    Case(
        "GRU float16",
        lambda snt, lib: snt.GRU(6, dtype=lib.float16),
        (Call(X.astype(np.float16), run=first_step),),
        tolerance=5e-3,
    ),
    Case(
        "weights of cores",
        lambda snt, lib: snt.DeepRNN([snt.LSTM(6), snt.GRU(4)]),
        (Call(X, run=first_step),),
    ),
    *(
        Case(
            f"{name} hidden weights",
            CORES[name],
            (Call(X, run=weights_of),),
        )
        for name in ("LSTM(6)", "GRU(6)", "VanillaRNN(6)")
    ),
]


def unrolled(lib, core, x):
    return core(x, core.initial_state(x.shape[1]))


UNROLLED = [
    Case("UnrolledLSTM(6)", lambda snt, lib: snt.UnrolledLSTM(6), (Call(SEQUENCE, run=unrolled),)),
    Case(
        "UnrolledLSTM by keyword",
        lambda snt, lib: snt.UnrolledLSTM(
            hidden_size=4, forget_bias=0.0, b_init=snt.initializers.Ones(), name="unrolled"
        ),
        (Call(SEQUENCE, run=unrolled),),
    ),
    Case(
        "UnrolledLSTM, given state",
        lambda snt, lib: snt.UnrolledLSTM(6),
        (
            Call(
                SEQUENCE,
                H,
                C,
                run=lambda lib, core, x, h, c: core(x, lib.snt.LSTMState(hidden=h, cell=c)),
            ),
        ),
    ),
    Case("own UnrolledRNN", own_unrolled, (Call(SEQUENCE, run=unrolled),)),
]


def conv_lstm(dims, *args, **kwargs):
    shape = (4, 3, 2)[:dims] + (2,)
    x = values(2, *shape)
    build = lambda snt, lib: getattr(snt, f"Conv{dims}DLSTM")(shape, *args, **kwargs)
    shown = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
    return Case(
        f"Conv{dims}DLSTM({', '.join(shown)})",
        build,
        (Call(x, run=first_step), Call(x, run=two_steps), Call(np.stack([x, -x]), run=static)),
    )


CONV_LSTMS = [
    conv_lstm(dims, *args, **kwargs)
    for dims in (1, 2, 3)
    for args, kwargs in (
        ((3, 3), {}),
        ((3,), {"kernel_shape": 2, "forget_bias": 0.0}),
        ((2, 1), {"name": "images"}),
    )
] + [
    Case(
        "Conv2DLSTM by keyword",
        lambda snt, lib: snt.Conv2DLSTM(
            input_shape=[4, 3, 2],
            output_channels=3,
            kernel_shape=[3, 2],
            w_i_init=snt.initializers.Constant(0.1),
            w_h_init=snt.initializers.Ones(),
            b_init=snt.initializers.Ones(),
            forget_bias=0.5,
        ),
        (Call(values(2, 4, 3, 2), run=two_steps),),
    ),
    Case(
        "Conv1DLSTM hidden weights",
        lambda snt, lib: snt.Conv1DLSTM((4, 2), 3, 3),
        (Call(values(2, 4, 2), run=weights_of),),
    ),
]

STATES = [
    Case(
        "TrainableState of an array",
        lambda snt, lib: snt.TrainableState(values(3)),
        (Call(2), Call(batch_size=5)),
        seeded=False,
    ),
    Case(
        "TrainableState of a scalar",
        lambda snt, lib: snt.TrainableState(lib.zeros([])),
        (Call(4),),
    ),
    Case(
        "TrainableState of a dict",
        lambda snt, lib: snt.TrainableState({"b": values(3), "a": values(2)}, name="start"),
        (Call(2),),
    ),
    Case(
        "TrainableState of LSTMState",
        lambda snt, lib: snt.TrainableState(snt.LSTMState(lib.zeros([3]), lib.ones([2]))),
        (Call(2),),
    ),
    Case(
        "TrainableState with a mask",
        lambda snt, lib: snt.TrainableState(
            {"a": values(3), "b": values(2)}, {"a": True, "b": False}
        ),
        (Call(2),),
    ),
    Case(
        "TrainableState of a nest",
        lambda snt, lib: snt.TrainableState({"a": (values(3), values(2))}),
        (Call(2),),
    ),
    Case(
        "TrainableState.for_core",
        lambda snt, lib: snt.TrainableState.for_core(snt.LSTM(6)),
        (Call(3),),
    ),
    Case(
        "TrainableState.for_core with a mask",
        lambda snt, lib: snt.TrainableState.for_core(
            snt.LSTM(6), mask=snt.LSTMState(False, True), name="learned"
        ),
        (Call(3),),
    ),
    Case("GRU with a TrainableState", learned, (Call(SEQUENCE),)),
    Case(
        "initial states",
        lambda snt, lib: snt.Sequential(),
        (
            Call(
                run=lambda lib, module: (
                    lib.snt.LSTM(3).initial_state(2),
                    lib.snt.LSTM(3, projection_size=2).initial_state(2),
                    lib.snt.GRU(3).initial_state(2),
                    lib.snt.VanillaRNN(3).initial_state(batch_size=2),
                    lib.snt.DeepRNN([lib.snt.LSTM(3), lib.relu, lib.snt.GRU(2)]).initial_state(2),
                    lib.snt.Conv2DLSTM([4, 3, 2], 5, 3).initial_state(2),
                    lib.snt.UnrolledLSTM(3).initial_state(2),
                )
            ),
        ),
    ),
]


CASES = (*STEPS, *WITH_LENGTHS, *OPTIONS, *UNROLLED, *CONV_LSTMS, *STATES)
