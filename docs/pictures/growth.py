"""Draws how costs grow with a model, as measured by `benchmarks/compare.py` and `depth.py`."""

import json
import pathlib

from drawing import BLUE, GREEN, ORANGE, PURPLE, new_figure, save

FOUND = json.loads(pathlib.Path(__file__).with_name("benchmarks.json").read_text())
COLOURS = {
    "by hand": "#bbbbbb",
    "purestate": BLUE,
    "haiku": ORANGE,
    "flax linen": GREEN,
    "flax nnx": PURPLE,
    "equinox": "#555555",
}

figure, ((left, right),) = new_figure(2, 1, 8.0, 3.2)
growth, depth = FOUND["growth"], FOUND["depth"]
for library, colour in COLOURS.items():
    seconds = growth["apply"][library]
    left.loglog(growth["layers"], seconds, "o-", color=colour, markersize=4, label=library)
left.set(xticks=growth["layers"], xticklabels=map(str, growth["layers"]))
left.set(xlabel="Linear layers in a chain", ylabel="seconds to trace", ylim=(0.01, 20))
left.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
left.minorticks_off()

for name, colour in (("loop", ORANGE), ("layer_stack", BLUE)):
    label = {"loop": "a loop of Python", "layer_stack": "ps.layer_stack"}[name]
    right.loglog(
        depth["depths"], depth[name]["compile"], "o-", color=colour, markersize=4, label=label
    )
right.set(xticks=depth["depths"], xticklabels=map(str, depth["depths"]))
right.set(xlabel="layers of a Transformer", ylabel="CPU seconds to compile")
right.set(yticks=[2, 5, 10, 20], yticklabels=["2", "5", "10", "20"])
right.legend(fontsize=8, frameon=False)
right.minorticks_off()
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

save(figure, __file__)
