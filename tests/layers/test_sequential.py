import jax
import jax.numpy as jnp
import pytest

import purestate as ps


@pytest.mark.parametrize(
    "arguments", [lambda: (ps.Linear(2),), lambda: (ps.Linear(2), jax.nn.relu)]
)
def test_layers_that_are_no_list(arguments):
    with pytest.raises(
        TypeError, match=r"given a Linear: write ps.Sequential\(\[first, second\]\)"
    ) as error:
        ps.transform(lambda x: ps.Sequential(*arguments())(x)).init(
            jax.random.key(0), jnp.ones([1, 3])
        )
    assert isinstance(error.value, ps.errors.ArgumentError)


def test_layers_from_a_generator():
    f = ps.transform(lambda x: ps.Sequential(ps.Linear(size) for size in (4, 2))(x))
    params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    assert [params[name]["w"].shape for name in params] == [(3, 4), (4, 2)]
