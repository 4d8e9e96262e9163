"""Draws masks of attention: which keys (columns) each query (rows) sees."""

import jax.numpy as jnp
import numpy as np
from drawing import BLUE, draw_cells, new_figure, save

import purestate as ps

T = 8
causal, padding = ps.causal_mask(T), ps.padding_mask(jnp.array([5]), T)
masks = {
    "causal_mask(8)": causal,
    "sliding_window_mask(8, 3)": ps.sliding_window_mask(T, 3),
    "sliding_window_mask(8, 3,\ncausal=False)": ps.sliding_window_mask(T, 3, causal=False),
    "padding_mask([5], 8)": padding,
    "combine_masks(\ncausal, padding)": ps.combine_masks(causal, padding),
    "causal_mask(2, 8, offset=5)": ps.causal_mask(2, T, offset=5),
}

figure, axes = new_figure(3, 2, 6.6, 5.0)
for place, (name, mask) in zip(axes.ravel(), masks.items(), strict=True):
    rows = 2 if "offset" in name else T
    cells = np.broadcast_to(np.asarray(mask)[0, 0], (rows, T))
    draw_cells(place, cells, BLUE)
    place.set_ylim(T, 0)
    place.set_title(name, fontsize=8, family="monospace")
    place.set_xlabel("keys", fontsize=8)
    place.set_ylabel("queries", fontsize=8, y=1 - rows / 2 / T)

save(figure, __file__)
