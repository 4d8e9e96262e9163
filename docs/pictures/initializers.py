"""Draws what the initializers draw from, and what their scale does to a deep network."""

import jax
import jax.numpy as jnp
import numpy as np
from drawing import BLUE, GREEN, ORANGE, PURPLE, new_figure, save

import purestate as ps

INPUTS = 100
figure, ((left, right),) = new_figure(2, 1, 8.0, 3.0)

distributions = {
    "default of ps.Linear": (None, BLUE),
    "truncated_normal": (
        ps.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal"),
        ORANGE,
    ),
    "normal": (ps.initializers.VarianceScaling(1.0, "fan_in", "normal"), GREEN),
    "uniform": (ps.initializers.VarianceScaling(1.0, "fan_in", "uniform"), PURPLE),
}
bins = np.linspace(-0.35, 0.35, 71)
for label, (init, colour) in distributions.items():
    f = ps.transform(lambda x, init=init: ps.Linear(4000, w_init=init)(x))
    w = np.asarray(f.init(jax.random.key(0), jnp.ones([1, INPUTS]))["linear"]["w"])
    density, edges = np.histogram(w, bins, density=True)
    left.stairs(density, edges, color=colour, linewidth=1.5, label=f"{label}, stddev {w.std():.3f}")
left.set_title(f"weights of {INPUTS} inputs", fontsize=10)
left.set(xlabel="weight", ylabel="density", ylim=(0, 6.5))
left.legend(fontsize=7, loc="upper left", frameon=False)

scales = {
    'VarianceScaling(2, "fan_in")': (ps.initializers.VarianceScaling(2.0, "fan_in"), GREEN),
    'VarianceScaling(1, "fan_in")': (ps.initializers.VarianceScaling(1.0, "fan_in"), ORANGE),
    "default of ps.Linear": (None, BLUE),
}
x = jax.random.normal(jax.random.key(1), [64, 256])
for label, (init, colour) in scales.items():

    def deep(h, init=init):
        sizes = [h]
        for _ in range(20):
            h = jax.nn.relu(ps.Linear(256, w_init=init)(h))
            sizes.append(h)
        return jnp.stack([jnp.sqrt(jnp.mean(jnp.square(h))) for h in sizes])

    f = ps.transform(deep)
    params = f.init(jax.random.key(0), x)
    right.semilogy(f.apply(params, None, x), color=colour, linewidth=1.5, label=label)
right.set_title("activations of 20 layers of 256 with ReLU", fontsize=10)
right.set(xlabel="layer", ylabel="root mean square", xticks=range(0, 21, 5))
right.legend(fontsize=7, loc="lower left", frameon=False)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

save(figure, __file__)
