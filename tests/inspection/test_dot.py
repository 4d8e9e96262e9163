"""`to_dot`: the drawing, read back, has the operations, boxes and arrows that it should have."""

import html
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


class Drawing:
    """A drawing, read line by line."""

    def __init__(self, text):
        self.labels, self.arrows, self.boxes, self.box_of = {}, [], [], {}
        open_boxes = []
        lines = text.splitlines()
        assert lines[0] == "digraph G {"
        assert lines[-1] == "} // digraph G"
        for line in lines[1:-1]:
            if match := re.fullmatch(r"(\w+) -> (\w+);", line):
                self.arrows.append(match.groups())
            elif match := re.match(r"(\w+) \[label=<(.*?)>, ", line):
                if match[1] != "node":
                    label = [
                        html.unescape(re.sub("</?b>", "", part)) for part in match[2].split("<br/>")
                    ]
                    self.labels[match[1]] = label
                    self.box_of[match[1]] = "/".join(open_boxes)
            elif line.startswith("subgraph"):
                open_boxes.append("?")
            elif match := re.fullmatch(r"  label = <<b>(.*)</b>>;", line):
                open_boxes[-1] = html.unescape(match[1])
                self.boxes.append("|".join(open_boxes))
            elif line == "}":
                open_boxes.pop()
        assert not open_boxes
        assert {name for arrow in self.arrows for name in arrow} <= set(self.labels)
        self.named = {name: label[label[0] == "(reuse)"] for name, label in self.labels.items()}

    def into(self, title):
        """The titles of what arrows lead from to the one node of that title."""
        (node,) = (name for name, label in self.named.items() if label == title)
        return sorted(self.named[start] for start, end in self.arrows if end == node)


def test_operations_and_arrows():
    def f(a, b):
        c = jnp.sin(a) + b
        return c * 2.5, {"x": jnp.cos(c)}

    drawing = Drawing(ps.to_dot(f)(jnp.ones([2]), jnp.ones([2])))
    assert drawing.into("sin") == ["args[0]"]
    assert drawing.into("add") == ["args[1]", "sin"]
    assert drawing.into("output[0]") == ["2.5", "add"]
    assert drawing.into("output[1]: x") == ["add"]
    assert ["output[0]", "mul", "f32[2]"] in drawing.labels.values()
    assert drawing.boxes == []


def test_boxes_of_modules():
    class Net(ps.Module):
        def __call__(self, x):
            mlp = ps.nets.MLP([4, 2])
            return self.again(mlp(mlp.layers[0](x)[:, :3]))

        def again(self, x):
            return jnp.sin(x)

    f = ps.transform(lambda x: Net()(x))
    x = jnp.ones([2, 3])
    params = f.init(jax.random.key(0), x)
    drawing = Drawing(ps.to_dot(f.apply)(params, None, x))
    # Newer versions of JAX do not compile relu as a function of its own.
    relu_is_jitted = "jit" in str(jax.make_jaxpr(jax.nn.relu)(x))
    assert drawing.boxes == [
        "net",
        "net|net/mlp/~/linear_0",
        "net|net/mlp",
        "net|net/mlp|net/mlp/~/linear_0",  # called twice, so drawn twice
        *(["net|net/mlp|jit (relu)"] if relu_is_jitted else []),
        "net|net/mlp|net/mlp/~/linear_1",
        "net|net (again)",
    ]
    assert drawing.into("output") == ["add"]
    assert sorted(label[0] for label in drawing.labels.values() if "args" in label[0]) == [
        f"args[0]: net/mlp/~/linear_{i}/{name}" for i in range(2) for name in "bw"
    ] + ["args[2]"]
    # A parameter that is used twice has two nodes, so that no arrow crosses the whole drawing.
    assert ["(reuse)", "args[0]: net/mlp/~/linear_0/w", "f32[3,4]"] in drawing.labels.values()


def test_every_equation_is_one_operation():
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(4)(x), True))
    x = jnp.ones([2, 3])
    params, state = f.init(jax.random.key(0), x)
    jaxpr = jax.make_jaxpr(f.apply)(params, state, None, x)
    drawing = Drawing(ps.to_dot(f.apply)(params, state, None, x))
    primitives = [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns]
    drawn = [
        next(part for part in label if part in primitives)
        for n, label in drawing.labels.items()
        if n[0] == "o"
    ]
    assert sorted(drawn) == sorted(primitives)
    num_inputs = sum(len(eqn.invars) for eqn in jaxpr.jaxpr.eqns)
    assert len(drawing.arrows) == num_inputs


def test_jitted_functions_and_loops():
    @jax.jit
    def inner(x):
        return jax.lax.scan(lambda c, x: (c + jnp.tanh(x), c), x[0], x)[0]

    inner(jnp.ones([3]))  # what JAX has cached is drawn all the same
    drawing = Drawing(ps.to_dot(lambda x: jax.checkpoint(jnp.sin)(inner(x)))(jnp.ones([3])))
    assert drawing.boxes == ["jit (inner)", "jit (inner)|scan length=3 unroll=1", "remat"]
    assert drawing.into("tanh") == ["args[0]"]
    assert drawing.into("output") == ["add"]

    g = ps.transform(lambda x: ps.nets.MLP([2])(x))
    params = g.init(jax.random.key(0), jnp.ones([1, 1]))
    apply = jax.jit(g.apply)
    apply(params, None, jnp.ones([1, 1]))
    boxes = Drawing(ps.to_dot(apply)(params, None, jnp.ones([1, 1]))).boxes
    assert boxes[1:] == [boxes[0] + "|mlp", boxes[0] + "|mlp|mlp/~/linear_0"]


def test_branches_are_one_operation():
    def f(x):
        return jax.lax.cond(
            x > 0, jnp.sin, jnp.cos, jax.lax.while_loop(lambda x: x < 5, lambda x: x + 1, x)
        )

    drawing = Drawing(ps.to_dot(f)(1.0))
    assert drawing.into("while") == ["args[0]"]
    assert "while" in drawing.into("output")


def test_gradients_are_in_the_boxes_of_the_modules():
    f = ps.transform(lambda x: jnp.sum(ps.nets.MLP([4, 2])(x)))
    x = jnp.ones([2, 3])
    params = f.init(jax.random.key(0), x)
    drawing = Drawing(ps.to_dot(jax.grad(f.apply))(params, None, x))
    assert drawing.boxes.count("mlp|mlp/~/linear_1") == 1
    outputs = {
        label[0]: drawing.box_of[name]
        for name, label in drawing.labels.items()
        if "output" in label[0]
    }
    assert outputs == {
        f"output: mlp/~/linear_{i}/{name}": f"mlp/mlp/~/linear_{i}"
        for i in range(2)
        for name in "bw"
    }


def test_inside_a_transformed_function():
    def f(x):
        net = ps.nets.MLP([4, 2])
        text = ps.to_dot(net)(x)
        assert Drawing(text).boxes[0] == "mlp"
        return ps.Linear(1)(net(x))

    g = ps.transform(f)
    params = g.init(jax.random.key(0), jnp.ones([1, 3]))
    assert params.keys() == {"mlp/~/linear_0", "mlp/~/linear_1", "linear"}
    assert g.apply(params, None, jnp.ones([1, 3])).shape == (1, 1)


@pytest.mark.parametrize(
    "draw", [ps.to_dot, ps.experimental.to_dot, ps.experimental.abstract_to_dot]
)
def test_shapes_in_place_of_arrays_and_python_values(draw):
    def f(x, y, is_training, times):
        return jnp.tile(x, times) * y if is_training else x

    x = jax.ShapeDtypeStruct([10**6, 10**6], jnp.float32)
    drawing = Drawing(draw(f)(x, 2.0, True, times=(2, 1)))
    assert {"args[0]", "args[1]"} <= set(drawing.named.values())
    (output,) = (label for label in drawing.labels.values() if label[0] == "output")
    assert output[-1] == "f32[2000000,1000000]"
    assert draw(f).__name__ == "f"


def test_captured_arrays_and_names_are_escaped():
    table = np.arange(6.0).reshape(2, 3)
    text = ps.to_dot(lambda x: x @ jnp.asarray(table, jnp.float32))(jnp.ones([2]))
    assert "<b>&lt;lambda&gt;</b>" in text
    assert Drawing(text).into("output") == ["args[0]", "f32[2,3]"]


def test_the_same_each_time():
    f = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    params = f.init(jax.random.key(0), jnp.ones([2, 3]))
    first, second = (ps.to_dot(f.apply)(params, None, jnp.ones([2, 3])) for _ in range(2))
    assert first == second
