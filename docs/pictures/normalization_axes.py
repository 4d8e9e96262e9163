"""Draws which values one output of a normalization layer depends on, after figure 2 of Wu and He 2018."""

import jax
import numpy as np
from drawing import BLUE, GREY, ORANGE, new_figure, save
from matplotlib.patches import PathPatch
from matplotlib.path import Path

import purestate as ps

B, C, S = 4, 6, 5  # the axes of height and width are one here, as in the paper's figure
layers = {
    "BatchNorm": lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True),
    "LayerNorm(slice(1, None))": lambda x: ps.LayerNorm(slice(1, None), True, True)(x),
    "LayerNorm(-1), RMSNorm(-1)": lambda x: ps.LayerNorm(-1, True, True)(x) + ps.RMSNorm(-1)(x),
    "InstanceNorm": lambda x: ps.InstanceNorm(True, True)(x),
    "GroupNorm(2)": lambda x: ps.GroupNorm(2)(x),
}
one = (0, 0, C - 1)  # an output; which inputs does it depend on?
DEEP = np.array([0.45, 0.38])  # where the axis that goes into the page goes on the page


def corner(channel: float, position: float, row: float) -> np.ndarray:
    return np.array([channel, -position]) + row * DEEP


figure, (panels,) = new_figure(len(layers), 1, 9.6, 1.9)
for axes, (name, layer) in zip(panels, layers.items(), strict=True):
    f = ps.transform_with_state(layer)
    x = jax.random.normal(jax.random.key(0), [B, S, C])
    params, state = f.init(None, x)
    gradient = jax.grad(lambda x, f=f, p=params, s=state: f.apply(p, s, None, x)[0][one])(x)
    sees = np.asarray(gradient != 0)

    faces: dict[str, list[Path]] = {GREY: [], BLUE: [], ORANGE: []}

    def cell(
        index: tuple[int, int, int], corners: list[np.ndarray], faces=faces, sees=sees
    ) -> None:
        colour = ORANGE if index == one else BLUE if sees[index] else GREY
        faces[colour].append(Path([*corners, corners[0]], closed=True))

    for s in range(S):
        for c in range(C):  # the front, the first row of the batch
            cell(
                (0, s, c),
                [
                    corner(c, s, 0),
                    corner(c + 1, s, 0),
                    corner(c + 1, s + 1, 0),
                    corner(c, s + 1, 0),
                ],
            )
        for b in range(B):  # the right side, the last channel
            cell(
                (b, s, C - 1),
                [
                    corner(C, s, b),
                    corner(C, s, b + 1),
                    corner(C, s + 1, b + 1),
                    corner(C, s + 1, b),
                ],
            )
    for b in range(B):
        for c in range(C):  # the top, the first position
            cell(
                (b, 0, c),
                [
                    corner(c, 0, b),
                    corner(c + 1, 0, b),
                    corner(c + 1, 0, b + 1),
                    corner(c, 0, b + 1),
                ],
            )
    for colour, paths in faces.items():
        outline = Path.make_compound_path(*paths)
        axes.add_patch(PathPatch(outline, facecolor=colour, edgecolor="white", linewidth=0.8))
    axes.set(xlim=(-1.2, C + B * DEEP[0] + 0.8), ylim=(-S - 1.2, B * DEEP[1] + 0.2), aspect="equal")
    axes.set_title(name, fontsize=8.5)
    axes.axis("off")
    axes.text(C / 2, -S - 0.2, "channels", ha="center", va="top", fontsize=7)
    axes.text(-0.2, -S / 2, "space or time", ha="right", va="center", rotation=90, fontsize=7)
    axes.text(C + 1.25, -S + 0.55, "batch", ha="left", va="top", rotation=40, fontsize=7)

save(figure, __file__)
