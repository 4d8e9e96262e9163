"""What Sonnet refuses is refused, with the same class of error that Python has."""

import builtins

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from tests.sonnet.cases import ERRORS
from tests.sonnet.cases_errors import BY_ACCIDENT
from tests.sonnet.facade import KEY, lib, snt
from tests.sonnet.store import recording
from tests.sonnet.table import map_arrays

BY_NAME = {case.name: case for case in ERRORS}
# The fused operation of TensorFlow needs a bool of Python; here an array will do.
WORKS_HERE = {"BatchNorm is_training is an array, 4-D"}


def run(case):
    """All in one program, with the values of arrays known."""
    module = case.build(snt, lib)
    for call in case.calls:
        args, kwargs = map_arrays(jnp.asarray, (call.args, call.kwargs))
        call(lib, module, args, kwargs)
    return jnp.zeros(())


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in WORKS_HERE])
def test_same_class_of_error(name):
    expected = getattr(builtins, recording("errors").records[name]["class"])
    if name in BY_ACCIDENT:
        expected = (TypeError, ValueError, AttributeError)
    with pytest.raises(expected):
        ps.transform_with_state(lambda: run(BY_NAME[name])).init(KEY)


def test_enough_cases():
    assert len(BY_NAME) == len(ERRORS) == len(recording("errors").records) > 150


def test_errors_also_while_compiling():
    """A wrong rank is known from shapes."""
    f = ps.transform_with_state(lambda x: snt.Linear(3)(x))
    with pytest.raises(ValueError):
        jax.eval_shape(f.init, KEY, jnp.ones(3))
