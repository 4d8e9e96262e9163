import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.sequential import Sequential


class Scale(snt.Module):
    def __init__(self, factor, name=None):
        super().__init__(name=name)
        self.factor = factor

    @snt.once
    def _initialize(self):
        self.w = snt.Variable(self.factor, name="w")

    def __call__(self, x, shift=0.0):
        self._initialize()
        return x * self.w + shift


def test_arguments_go_to_the_first_layer():
    net = Sequential([Scale(2.0), jnp.square, Scale(3.0)])
    np.testing.assert_allclose(net(jnp.array([1.0]), 1.0), [27.0])
    np.testing.assert_allclose(net(jnp.array([1.0]), shift=-1.0), [3.0])


def test_without_layers_it_is_the_identity():
    x = object()
    assert Sequential()(x) is x
    assert Sequential([])(x, 1, a=2) is x


def test_its_modules_are_found_and_named_by_who_makes_them():
    def f(x):
        net = Sequential([Scale(2.0), Scale(3.0)], name="steps")
        y = net(x)
        assert [m.name for m in net.submodules] == ["scale", "scale"]
        assert [v.name for v in net.variables] == ["scale/w:0", "scale_1/w:0"]
        return y

    params, _ = ps.transform_with_state(f).init(None, jnp.ones([2]))
    assert sorted(params) == ["scale", "scale_1"]
    assert snt.attribute_paths(called()) == {
        "_layers/0/w": called.paths[0],
        "_layers/1/w": called.paths[1],
    }


def test_a_generator_makes_them_within():
    net = Sequential((Scale(n) for n in (2.0, 3.0)), name="steps")
    assert net(jnp.array(1.0)) == 6.0
    assert {v.path[0].split("/")[0] for v in net.variables} == {net.module_name}


def called():
    net = Sequential([Scale(2.0), Scale(3.0)])
    net(jnp.ones([1]))
    called.paths = [v.path for v in net.variables]
    return net


def test_a_layer_may_come_twice():
    layer = Scale(2.0)
    net = Sequential([layer, layer])
    assert net(jnp.array(1.0)) == 4.0
    assert len(net.variables) == 1
