"""`SetUpModule` and `Container`: what runs once, before the first call, and what a container holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


@pytest.mark.parametrize("items", ["abc", 3, [1, 2], {"a": "b"}, [[ps.Linear], ["x"]]], ids=str)
def test_container_takes_no_other_values(items):
    with pytest.raises(TypeError, match="not a valid state"):
        ps.Container(items)


def test_container():
    by_name = ps.Container({"relu": jax.nn.relu, "inner": [jnp.ones([2])]})
    assert by_name.keys() == ["relu", "inner"]
    assert by_name["relu"] is jax.nn.relu
    assert len(by_name) == len(by_name.values()) == len(by_name.items()) == 2
    assert [key for key, _ in ps.Container([jax.nn.relu]).items()] == [0]


class Net(ps.SetUpModule):
    scale = ps.param_attr()

    def __init__(self, log):
        super().__init__()
        self.log = log

    def set_up(self, x):
        self.log.append("set_up")
        self.scale = 2.0 * jnp.ones(x.shape[-1:])
        self.linear = ps.Linear(3)

    def forward(self, x, *, rng=None, inference_mode=False, batch_axis_name=()):
        self.log.append("forward")
        return self.linear(x) * self.scale + ps.Linear(3)(x)


def test_set_up_runs_once():
    log = []

    def twice(x):
        net = Net(log)
        return net(x), net(x, inference_mode=True)

    f = ps.transform(twice)
    x = jnp.ones([2, 3])
    params = f.init(jax.random.key(0), x)
    assert log == ["set_up", "forward", "forward"]
    assert set(params) == {"net", "net/~set_up/linear", "net/linear"}
    log.clear()
    f.apply({**params, "net": {"scale": 3 * jnp.ones([3])}}, None, x)
    assert log == ["set_up", "forward", "forward"]


def test_placeholder_keeps_what_apply_is_given():
    f = ps.transform(lambda x: (lambda net: (net(x), net.scale)[1])(Net([])))
    params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    assert params["net"]["scale"].tolist() == [2, 2, 2]
    assert f.apply(
        {**params, "net": {"scale": 3 * jnp.ones([3])}}, None, jnp.ones([1, 3])
    ).tolist() == [3, 3, 3]


def test_misused_set_up():
    with pytest.raises(
        ps.errors.ModuleError, match=r"`forward` of 'net' \(Net\) was called before `set_up`"
    ):
        ps.transform(lambda x: Net([]).forward(x)).init(None, jnp.ones([1, 3]))
    with pytest.raises(ps.errors.ModuleError, match="needs a method `forward"):
        ps.transform(lambda x: type("Empty", (ps.SetUpModule,), {})()(x)).init(None, 1.0)
    with pytest.raises(ps.errors.MissingInitializerError, match="'net/scale'"):
        ps.transform(lambda: Net([]).scale).init(None)

    class Forgets(ps.SetUpModule):
        def __init__(self):
            pass

    with pytest.raises(ValueError, match="super"):
        ps.transform(lambda: Forgets()).init(None)


class ZNorm(ps.SetUpModule):
    """Normalizes by moving averages that are parameters which are not trained, as MLAX's does."""

    mean = ps.param_attr(trainable=False)
    var = ps.param_attr(trainable=False)

    def set_up(self, x):
        self.mean, self.var = jnp.zeros(x.shape[-1:]), jnp.ones(x.shape[-1:])

    def forward(self, x, *, inference_mode=False):
        if inference_mode:
            return (x - self.mean) / jnp.sqrt(self.var + 1e-5)
        mean, var = x.mean(0), x.var(0)
        self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
        return (x - mean) / jnp.sqrt(var + 1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_parameters_that_change_in_forward(jit):
    f = ps.transform_with_collections(
        lambda x, inference_mode: ZNorm()(x, inference_mode=inference_mode)
    )
    x = jnp.array([[1.0, 2], [3, 6]])
    variables = f.init(None, x, False)

    def step(variables, x):
        return f.apply(variables, None, x, False, mutable=["params"])

    out, updated = (jax.jit(step) if jit else step)(variables, x)
    np.testing.assert_allclose(
        out, [[-0.99999505, -0.99999875], [0.99999505, 0.99999875]], rtol=1e-6
    )
    np.testing.assert_allclose(variables["params"]["z_norm"]["mean"], [0, 0])
    np.testing.assert_allclose(updated["params"]["z_norm"]["mean"], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(updated["params"]["z_norm"]["var"], [1.0, 1.3], rtol=1e-6)
    expected = (np.asarray(x) - [0.2, 0.4]) / np.sqrt(np.array([1.0, 1.3]) + 1e-5)
    np.testing.assert_allclose(f.apply(updated, None, x, True), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "declared", [(), ([2], jnp.float32, jnp.ones)], ids=["placeholder", "declared"]
)
def test_what_set_up_sets_is_a_first_value(declared):
    class Centred(ps.SetUpModule):
        mean = ps.state_attr(*declared)

        def set_up(self, x):
            self.mean = jnp.zeros(x.shape[-1])

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            return x - self.mean

    f = ps.transform_with_state(lambda x: Centred()(x))
    x = jnp.array([[1.0, 2], [3, 6]])
    params, state = f.init(None, x)
    assert state["centred"]["mean"].tolist() == [0, 0]
    for i in range(1, 4):
        _, state = f.apply(params, state, None, x)
        np.testing.assert_allclose(state["centred"]["mean"], (1 - 0.9**i) * x.mean(0), rtol=1e-6)


@pytest.mark.parametrize(
    ("set_up", "expected"),
    [
        (lambda self: self.seen.append(()), ()),
        (lambda self, x: self.seen.append((x,)), (1,)),
        (lambda self, x, y=0: self.seen.append((x, y)), (1, 2)),
        (lambda self, *args: self.seen.append(args), (1, 2, 3)),
    ],
)
def test_set_up_gets_as_many_arguments_as_it_takes(set_up, expected):
    def forward(self, *args, flag=False):
        return self.seen

    f = ps.transform(
        lambda: type(
            "Net", (ps.SetUpModule,), {"set_up": set_up, "forward": forward, "seen": []}
        )()(1, 2, 3, flag=True)
    )
    assert f.apply({}, None) == [expected]


def test_set_up_runs_again_after_it_failed():
    class Late(ps.SetUpModule):
        tries = 0

        def set_up(self):
            self.tries += 1
            if self.tries == 1:
                raise KeyError

        def forward(self):
            return self.tries, self.is_set_up

    def f():
        net = Late()
        with pytest.raises(KeyError):
            net()
        return net.is_set_up, net(), net()

    assert ps.transform(f).apply({}, None) == (False, (2, True), (2, True))
