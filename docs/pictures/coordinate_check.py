"""Draws how much a few steps of Adam change the activations of networks of several widths."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from drawing import BLUE, ORANGE, new_figure, save

# The code of the page itself, up to its first output.
PAGE = (Path(__file__).parents[1] / "mup.md").read_text().partition("```text")[0]
page: dict[str, Any] = {}
for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[:2]:
    exec(block, page)

WIDTHS = (64, 128, 256, 512, 1024)
figure, ((left, right),) = new_figure(2, 1, 8.0, 3.0, sharey=True)
for axes, title, base in ((left, "usual rules", None), (right, "muP, base width 64", 64)):
    change = np.array([page["check_mlp"](width, base or width) for width in WIDTHS])
    for step in range(4):
        for i, (label, colour) in enumerate((("last hidden layer", BLUE), ("output", ORANGE))):
            axes.loglog(
                WIDTHS,
                change[:, step, i],
                color=colour,
                alpha=0.25 + 0.25 * step,
                linewidth=1.5,
                label=label if step == 3 else None,
            )
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="width", xticks=WIDTHS, xticklabels=map(str, WIDTHS))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
left.set(ylabel="change after 1 to 4 steps")
left.legend(fontsize=8, loc="upper left", frameon=False)

save(figure, __file__)
