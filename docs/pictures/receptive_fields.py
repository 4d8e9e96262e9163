"""Draws which inputs each output of a convolution sees: where the gradient is not zero."""

import jax
import jax.numpy as jnp
import numpy as np
from drawing import BLUE, draw_cells, new_figure, save

import purestate as ps

LENGTH = 10
paddings = {'"SAME"': "SAME", '"VALID"': "VALID", "ps.pad.causal": ps.pad.causal}
stacks = {"rate=1": [1], "rate=2": [2], "rates 1, 2": [1, 2]}

figure, axes = new_figure(3, 3, 6.6, 6.4)
for row, (what, rates) in zip(axes, stacks.items(), strict=True):
    for place, (name, padding) in zip(row, paddings.items(), strict=True):

        def convolve(x, rates=rates, padding=padding):
            for rate in rates:
                x = ps.Conv1D(1, kernel_shape=3, rate=rate, padding=padding, w_init=jnp.ones)(
                    x[:, None]
                )[:, 0]
            return x

        f = ps.transform(convolve)
        x = jnp.zeros(LENGTH)
        jacobian = np.asarray(jax.jacobian(lambda x, f=f: f.apply(f.init(None, x), None, x))(x))
        draw_cells(place, jacobian != 0, BLUE)
        place.set_ylim(LENGTH, 0)  # squares of one size everywhere
        place.set_title(f"{name}, {what}", fontsize=9)
        place.set_xlabel(f"{jacobian.shape[1]} inputs", fontsize=8)
        place.set_ylabel(
            f"{jacobian.shape[0]} outputs", fontsize=8, y=1 - jacobian.shape[0] / 2 / LENGTH
        )

save(figure, __file__)
