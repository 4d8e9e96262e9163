"""Linear, Bias and Embed."""

import numpy as np

from tests.sonnet.table import Call, Case, integers, values

X, X3, X4 = values(4, 5), values(2, 3, 5), values(2, 4, 3, 5)

LINEAR = (
    Case("Linear", lambda snt, lib: snt.Linear(3), (Call(X),)),
    Case("Linear by position", lambda snt, lib: snt.Linear(3, False), (Call(X),)),
    Case("Linear [2, 3, 5]", lambda snt, lib: snt.Linear(output_size=3), (Call(X3),)),
    Case("Linear [2, 4, 3, 5]", lambda snt, lib: snt.Linear(2), (Call(inputs=X4),)),
    Case("Linear twice", lambda snt, lib: snt.Linear(3), (Call(X), Call(values(7, 5, seed=1)))),
    Case(
        "Linear, all by position",
        lambda snt, lib: snt.Linear(
            3, True, snt.initializers.Ones(), snt.initializers.Constant(2.0), "mine"
        ),
        (Call(X),),
    ),
    Case(
        "Linear as created",
        lambda snt, lib: snt.Linear(
            3, w_init=snt.initializers.Constant(0.5), b_init=snt.initializers.Ones()
        ),
        (Call(X),),
        seeded=False,
    ),
    Case(
        "Linear with_bias=False, name",
        lambda snt, lib: snt.Linear(6, with_bias=False, name="to_six"),
        (Call(X3),),
    ),
    Case("Linear to 1", lambda snt, lib: snt.Linear(1), (Call(X),)),
    Case("Linear, empty batch", lambda snt, lib: snt.Linear(2), (Call(values(0, 5)),)),
    Case("Linear from 1", lambda snt, lib: snt.Linear(2), (Call(values(3, 1)),)),
)


def with_bias_init(snt, lib):
    return snt.Bias(5, None, snt.initializers.RandomNormal(0.0, 2.0), "shift")


BIAS = (
    Case("Bias", lambda snt, lib: snt.Bias(), (Call(X),)),
    Case("Bias [2, 4, 3, 5]", lambda snt, lib: snt.Bias(), (Call(X4),)),
    Case("Bias bias_dims=[]", lambda snt, lib: snt.Bias(bias_dims=[]), (Call(X4),)),
    Case("Bias bias_dims=[-1]", lambda snt, lib: snt.Bias(bias_dims=[-1]), (Call(X4),)),
    Case("Bias bias_dims=[1]", lambda snt, lib: snt.Bias(bias_dims=[1]), (Call(X4),)),
    Case("Bias bias_dims=[1, 3]", lambda snt, lib: snt.Bias(bias_dims=[1, 3]), (Call(X4),)),
    Case("Bias bias_dims=[-2, -1]", lambda snt, lib: snt.Bias(bias_dims=[-2, -1]), (Call(X4),)),
    Case("Bias multiplier", lambda snt, lib: snt.Bias(), (Call(X3, multiplier=-1.0),)),
    Case("Bias multiplier by position", lambda snt, lib: snt.Bias(), (Call(X3, 2.5), Call(X3))),
    Case(
        "Bias multiplier array",
        lambda snt, lib: snt.Bias(bias_dims=[2]),
        (Call(X3, values(1)),),
    ),
    Case("Bias output_size", lambda snt, lib: snt.Bias(5), (Call(X),)),
    Case("Bias all by position", with_bias_init, (Call(X),)),
    Case("Bias [4, 5] batch of 7", lambda snt, lib: snt.Bias(), (Call(X), Call(values(7, 5)))),
)

IDS = integers(7, 2, 3)
VOCAB = values(7, 4)


EMBED = (
    Case("Embed", lambda snt, lib: snt.Embed(7, 3), (Call(IDS),)),
    Case("Embed by keyword", lambda snt, lib: snt.Embed(vocab_size=7, embed_dim=2), (Call(IDS),)),
    Case("Embed of a scalar", lambda snt, lib: snt.Embed(7, 3), (Call(np.asarray(3, np.int32)),)),
    Case("Embed default embed_dim", lambda snt, lib: snt.Embed(16), (Call(IDS),)),
    Case("Embed default embed_dim 100", lambda snt, lib: snt.Embed(100), (Call(IDS),)),
    Case("Embed existing_vocab", lambda snt, lib: snt.Embed(existing_vocab=VOCAB), (Call(IDS),)),
    Case(
        "Embed existing_vocab as created",
        lambda snt, lib: snt.Embed(existing_vocab=VOCAB),
        (Call(IDS),),
        seeded=False,
    ),
    Case(
        "Embed existing_vocab, not trainable",
        lambda snt, lib: snt.Embed(existing_vocab=VOCAB, trainable=False),
        (Call(IDS),),
    ),
    Case(
        "Embed not trainable",
        lambda snt, lib: snt.Embed(7, 3, trainable=False, name="fixed"),
        (Call(IDS),),
    ),
    Case(
        "Embed densify_gradients",
        lambda snt, lib: snt.Embed(7, 3, densify_gradients=True),
        (Call(IDS),),
    ),
    Case(
        "Embed all by position",
        lambda snt, lib: snt.Embed(
            7, 3, None, True, snt.initializers.Ones(), True, lib.float32, "words"
        ),
        (Call(IDS),),
    ),
    Case("Embed [2, 1, 3]", lambda snt, lib: snt.Embed(7, 3), (Call(integers(7, 2, 1, 3)),)),
    Case(
        "Embed float16",
        lambda snt, lib: snt.Embed(7, 3, dtype=lib.float16),
        (Call(IDS),),
        tolerance=2e-3,
    ),
    Case(
        "Embed initializer",
        lambda snt, lib: snt.Embed(7, 3, initializer=snt.initializers.RandomUniform(-1, 1)),
        (Call(IDS),),
    ),
    Case(
        "Embed table",
        lambda snt, lib: snt.Embed(7, 3),
        (Call(IDS, run=lambda lib, m, ids: (m(ids), m.vocab_size, m.embed_dim)),),
    ),
)

CASES = (*LINEAR, *BIAS, *EMBED)
