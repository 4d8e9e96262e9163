"""`jaxpr_info`: the tree of equations, its costs, and the page made of it."""

import math
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

info = ps.experimental.jaxpr_info


def one(eqn, expression):
    return 1


def size(eqn, expression):
    return max(math.prod(var.aval.shape) for var in eqn.invars)


def text(f, *args, **options):
    return info.format_module(info.make_model_info(f, **options)(*args))


def test_expressions():
    def add(x, y):
        unused = jnp.tan(x)
        del unused
        return jnp.sign(x) + jnp.cos(y)

    a = jnp.zeros([12, 7])
    assert text(add, a, a) == (
        "add\n"
        "  sign in f32[12,7], out f32[12,7]\n"
        "  cos in f32[12,7], out f32[12,7]\n"
        "  add in f32[12,7], f32[12,7], out f32[12,7]\n"
    )
    assert text(add, a, a, name="f", compute_flops=size).splitlines()[:2] == [
        "f 252 flops",
        "  sign 84 flops in f32[12,7], out f32[12,7]",
    ]


def test_variables_and_their_names():
    def f(x):
        return jax.lax.sort((x, x * 2), num_keys=1)[1]

    module = info.make_model_info(f)(jnp.ones([3]))
    mul, sort = module.expressions
    assert (mul.invars, mul.outvars, mul.first_outvar) == ("a 2.0", "b", "b")
    assert (sort.primitive, sort.invars, sort.outvars) == ("sort", "a b", "c d")
    assert sort.params["num_keys"] == "1"


def test_modules_with_parameters_and_state():
    class Net(ps.Module):
        def __call__(self, x):
            return self.normed(ps.nets.MLP([4])(x))

        def normed(self, x):
            return ps.BatchNorm(True, False, 0.9)(x, is_training=True)

    f = ps.transform_with_state(lambda x: Net()(x))
    x = jnp.ones([2, 3])
    params, state = f.init(jax.random.key(0), x)
    module = info.make_model_info(f.apply, name="f")(params, state, None, x)
    (net,) = (e.submodule for e in module.expressions)
    assert (net.name, net.total_param_size, net.total_state_size) == ("net", 12 + 4 + 4, 2 * 9)
    assert net.param_info["./mlp/linear_0/w"] == "f32[3,4]"
    (linear,) = (e.submodule for e in net.expressions[0].submodule.expressions)
    assert (linear.name, linear.param_info) == ("linear_0", {"./b": "f32[4]", "./w": "f32[3,4]"})
    lines = info.format_module(module).splitlines()
    assert lines[1:4] == [
        "  net 20 params 18 state",
        "    mlp 16 params",
        "      linear_0 16 params",
    ]
    assert "        batch_norm 4 params 18 state" in lines
    jitted = info.make_model_info(jax.jit(f.apply), name="f")(params, state, None, x)
    assert info.format_module(jitted).splitlines()[2] == "    net 20 params 18 state"
    assert "params" not in text(f.apply, params, state, None, x, include_module_info=False)


def test_modules_that_are_made_elsewhere():
    def f(x):
        core = ps.DeepRNN([ps.GRU(4)])
        return ps.dynamic_unroll(core, x, core.initial_state(None))[0]

    g = ps.transform(f)
    params = g.init(jax.random.key(0), jnp.ones([5, 3]))
    lines = text(g.apply, params, None, jnp.ones([5, 3])).splitlines()
    assert (
        "    deep_rnn 96 params" in lines
    )  # of the gru, whose path is not within that of the deep rnn
    assert "      gru 96 params" in lines


def test_repeated_scopes_are_joined_only_side_by_side():
    def f(x):
        for name in ("a", "a", "b", "a"):
            with jax.named_scope(name):
                x = jnp.sin(x)
        return x

    module = info.make_model_info(f)(1.0 * jnp.ones([]))
    assert [e.submodule.name for e in module.expressions] == ["a", "b", "a"]
    assert len(module.expressions[0].submodule.expressions) == 2


def test_costs_of_loops_and_branches():
    def f(x):
        x, _ = jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=10, unroll=5)
        x = jax.jit(lambda x: jnp.cos(jnp.cos(x)))(x)
        x = jax.lax.while_loop(lambda x: x < 3, lambda x: jnp.tan(x), x)
        x = jax.lax.switch(0, [jnp.sin, lambda x: jnp.sin(jnp.cos(x))], x)
        return jax.lax.cond(x > 0, jnp.sin, lambda x: jnp.sin(jnp.cos(x)), x)

    module = info.make_model_info(f, compute_flops=one)(jnp.ones([]))
    costs = {e.submodule.name: e.flops for e in module.expressions if e.submodule}
    assert costs["scan length=10 unroll=5"] == 10
    assert costs["<lambda>"] == 2
    assert costs["while"] == 1
    assert costs["cond"] == 2
    assert module.flops == sum(e.flops for e in module.expressions)
    assert module.expressions[0].submodule.flops == 10


def test_what_runs_other_functions():
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (f(x), None), lambda _, g: (g,))
    lines = text(
        lambda x: jax.checkpoint(jnp.cos)(f(jax.nn.relu(x))), jnp.ones([2]), name="f"
    ).splitlines()
    assert [line.strip().split(" in ")[0] for line in lines] == [
        "f", "custom_jvp", "relu", "max", "custom_vjp", "sin", "remat", "cos",
    ]  # fmt: skip


def test_gradients():
    f = ps.transform(lambda x: ps.Linear(2, with_bias=False)(x).sum())
    x = jnp.ones([4, 3])
    params = f.init(jax.random.key(0), x)
    lines = text(jax.grad(f.apply), params, None, x).splitlines()
    assert lines[1:] == [
        "  transpose(jvp())",
        "    broadcast_in_dim in f32[], out f32[4,2]",
        "  transpose(jvp(linear))",
        "    dot_general in f32[4,2], f32[4,3], out f32[2,3]",
        "    transpose in f32[2,3], out f32[3,2]",
    ]


def test_effects_are_no_dead_code():
    def f(x):
        jax.debug.print("{}", x)
        return x + 1

    primitives = [e.primitive for e in info.make_model_info(f)(jnp.ones([])).expressions]
    assert len(primitives) == 2
    assert primitives[1] == "add"


def test_axes_with_names_and_python_values():
    f = ps.transform(lambda x, mean: ps.Linear(1)(jax.lax.psum(x, "batch") / 8 if mean else x))
    params = f.init(jax.random.key(0), jnp.ones([1, 1]), False)
    found = text(f.apply, params, None, jnp.ones([1, 1]), True, axis_env=[("batch", 8)])
    assert "  psum" in found
    assert "  linear 2 params" in found
    assert "psum" not in text(f.apply, params, None, jnp.ones([1, 1]), False)


def test_many_inputs_and_outputs():
    def f(*xs):
        return jnp.concatenate(xs)

    module = info.make_model_info(f)(*[jnp.ones([1])] * 30)
    assert module.expressions[0].invars == "30 inputs"
    assert module.expressions[0].outvars == "be"  # as JAX itself counts: y, z, ba, bb
    split = info.make_model_info(lambda x: jnp.split(x, 12))(jnp.ones([12])).expressions[0]
    assert split.outvars == "b, 11 more outputs"


@pytest.mark.parametrize(
    ("flops", "shown"),
    [
        (999, "999 flops"),
        (1000, "1000 flops"),
        (4624, "4.624 kflops"),
        (12_345_678, "12.35 Mflops"),
    ],
)
def test_large_numbers(flops, shown):
    assert info.format_module(info.Module("m", flops=flops)) == f"m {shown}\n"


class Page(HTMLParser):
    """Checks that tags are closed in order; gathers the text."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page():
    def f(x):
        return jnp.sin(jnp.tanh(ps.nets.MLP([2], name="net")(x)))

    g = ps.transform(f)
    x = jnp.ones([4, 3])
    params = g.init(jax.random.key(0), x)
    module = info.make_model_info(g.apply, name="<apply>", compute_flops=size)(params, None, x)
    page = Page()
    page.feed(info.as_html_page(module, min_flop=8))
    assert page.open == []
    assert "<apply>" in page.texts
    assert {"net", "linear_0", "dot_general", "./linear_0/w", "f32[3,2]", "tanh"} <= set(page.texts)
    assert info.css() in "".join(page.texts)
    assert info.js() in "".join(page.texts)


def test_cheap_expressions_are_left_out():
    module = info.make_model_info(lambda x: jnp.sum(jnp.sin(x)) + 1, compute_flops=size)(
        jnp.ones([2000])
    )
    assert "sin" in info.as_html(module)
    assert ">add<" not in info.as_html(module)
    assert ">add<" in info.as_html(module, min_flop=0)
    assert "sin" not in info.as_html(module, min_flop=5000)


def test_outputs_in_front():
    assert "x &lt; y = <b>m</b>" in info.as_html(info.Module("m"), outvars="x < y")
