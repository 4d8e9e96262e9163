"""Draws what tracing costs in six libraries, as measured by `benchmarks/compare.py`."""

import json
import pathlib

from drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, new_figure, save

FOUND = json.loads(pathlib.Path(__file__).with_name("benchmarks.json").read_text())["models"]
TITLES = {
    "mlp": "MLP",
    "lstm": "LSTM",
    "batch_norm": "BatchNorm",
    "resnet18": "ResNet-18",
    "gpt": "GPT-12",
}
STYLES = {
    "purestate": (BLUE, "o"),
    "haiku": (ORANGE, "s"),
    "flax linen": (GREEN, "^"),
    "flax nnx": (PURPLE, "v"),
    "equinox": ("#555555", "D"),
}

figure, ((left, right),) = new_figure(2, 1, 8.0, 3.0, sharey=True)
for axes, part, title in ((left, "trace", "apply"), (right, "init", "init")):
    axes.axvline(1, color=GREY, linewidth=6, zorder=0)
    for library, (colour, marker) in STYLES.items():
        ratios = [FOUND[model][part]["calls"][library]["ratio"][0] for model in TITLES]
        axes.plot(
            ratios, range(len(TITLES)), marker, color=colour, markersize=6, label=library, alpha=0.9
        )
    axes.set_xscale("log", base=2)
    ticks = [1, 2, 4, 8, 16, 32] if part == "init" else [1, 2, 4, 8, 16]
    axes.set(xticks=ticks, xticklabels=map(str, ticks))
    axes.set_title(f"calls to trace {title}, to JAX by hand", fontsize=10)
    axes.set(yticks=range(len(TITLES)), yticklabels=TITLES.values(), ylim=(4.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)
right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

save(figure, __file__)
