"""Policies by name, and what they cast, as jmp has it."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import pytest

import purestate as ps
from purestate._precision.errors import PolicyError
from purestate.mixed_precision import Policy, get_named_policy

DTYPE_NAMES = (
    "bf16",
    "bfloat16",
    "f16",
    "float16",
    "full",
    "f32",
    "float32",
    "f64",
    "float64",
    "half",
)
NAMES = [
    *DTYPE_NAMES,
    *(
        f"{part}={dtype}"
        for part, dtype in itertools.product(
            ("p", "params", "c", "compute", "o", "output"), DTYPE_NAMES
        )
    ),
    "p=f16,c=f32",
    "c=bf16,o=f32",
    "o=f16,p=bf16",
    "params=float32,compute=bfloat16,output=float32",
    "output=f16,compute=f64,params=bf16",
]


def dtypes_of(policy: Any) -> list[Any]:
    return [jnp.dtype(d) for d in (policy.param_dtype, policy.compute_dtype, policy.output_dtype)]


@pytest.mark.parametrize("name", NAMES)
def test_names_mean_what_they_mean_in_jmp(name: str):
    assert dtypes_of(get_named_policy(name)) == dtypes_of(jmp.get_policy(name))
    assert Policy.parse(name) == get_named_policy(name)


@pytest.mark.parametrize("name", NAMES)
def test_str_is_a_name(name: str):
    policy = get_named_policy(name)
    assert get_named_policy(str(policy)) == policy


@pytest.mark.parametrize(
    "name", ["", "float8", "p=int32", "x=f32", "p:f32", "params=f32;compute=f16", "p=", "params"]
)
def test_other_names_are_errors(name: str):
    with pytest.raises(ValueError):
        jmp.get_policy(name)
    with pytest.raises(PolicyError, match="policy"):
        get_named_policy(name)


def trees() -> list[Any]:
    return [
        jnp.linspace(-3, 3, 7),
        np.linspace(-3, 3, 7),
        (jnp.arange(3), jnp.array(True), np.float64(1.5), np.arange(2.0), 2, 2.5, None, "text"),
        {
            "key": jax.random.key(0),
            "half": jnp.ones([2], jnp.float16),
            "complex": jnp.ones([2], jnp.complex64),
        },
        jnp.asarray(1.0),  # weakly typed
        jax.ShapeDtypeStruct([2], jnp.float32),
        [object],
    ]


@pytest.mark.parametrize("name", ["p=f32,c=bf16,o=f16", "f32", "p=f16,c=f32,o=bf16"])
@pytest.mark.parametrize("cast", ["cast_to_param", "cast_to_compute", "cast_to_output"])
@pytest.mark.parametrize("index", range(7))
def test_casts_what_jmp_casts(name: str, cast: str, index: int):
    tree = trees()[index]
    ours = jax.tree.leaves(getattr(get_named_policy(name), cast)(tree))
    theirs = jax.tree.leaves(getattr(jmp.get_policy(name), cast)(tree))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b)
        if hasattr(a, "dtype") and not isinstance(a, jax.ShapeDtypeStruct):
            assert a.dtype == b.dtype
            assert getattr(a, "weak_type", False) == getattr(b, "weak_type", False)
            assert np.asarray(
                jax.random.key_data(a) if a.dtype == jax.random.key(0).dtype else a
            ).tobytes() == (
                np.asarray(
                    jax.random.key_data(b) if b.dtype == jax.random.key(0).dtype else b
                ).tobytes()
            )
        else:
            assert a == b


def test_casting_under_jit_makes_no_equation_more_than_jmp():
    tree = (jnp.ones([2]), jnp.ones([2], jnp.bfloat16), jnp.arange(2))
    ours = jax.make_jaxpr(get_named_policy("bf16").cast_to_compute)(tree)
    theirs = jax.make_jaxpr(jmp.get_policy("bf16").cast_to_compute)(tree)
    assert str(ours) == str(theirs)


def test_dtypes_are_told_in_any_way():
    assert Policy("float32", np.float16, jnp.bfloat16) == Policy(
        np.dtype("float32"), jnp.float16, "bfloat16"
    )
    assert hash(Policy("float32", np.float16, jnp.bfloat16)) == hash(
        Policy(jnp.float32, "float16", "bfloat16")
    )


def test_fp8_is_a_floating_point_type():
    policy = Policy(jnp.float32, jnp.float8_e4m3fn, jnp.float32)
    assert policy.cast_to_compute(jnp.ones([2])).dtype == jnp.float8_e4m3fn


def test_with_output_dtype_changes_that_alone():
    policy = get_named_policy("p=f32,c=bf16,o=f32")
    assert dtypes_of(policy.with_output_dtype(jnp.float16)) == [
        jnp.float32,
        jnp.bfloat16,
        jnp.float16,
    ]
    assert policy.output_dtype == jnp.float32


@pytest.mark.parametrize(
    "dtype", [jnp.int32, "int8", bool, jnp.complex64, None, "float31", object()]
)
@pytest.mark.parametrize("position", range(3))
def test_policy_of_another_type_is_an_error(dtype: Any, position: int):
    dtypes: list[Any] = [jnp.float32] * 3
    dtypes[position] = dtype
    with pytest.raises(
        PolicyError, match=("param_dtype", "compute_dtype", "output_dtype")[position]
    ):
        Policy(*dtypes)


def test_error_is_of_the_tree():
    assert issubclass(PolicyError, ps.errors.PurestateError)
