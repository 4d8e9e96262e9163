"""Short names of arrays, and of numbers of bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._editing.array_format import format_array, format_bytes, format_dtype


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "int8", "uint8", "int32", "uint32", "complex64"]
)
def test_names_are_those_of_xla(dtype):
    # As in the text of a compiled program, such as f32[2,3]{1,0}.
    text = jax.jit(lambda x: x).lower(jnp.zeros([2, 3], dtype)).compile().as_text()
    assert f"{format_array(np.zeros([2, 3], jnp.dtype(dtype)))}{{" in text


def test_other_names():
    assert format_dtype(jnp.float32) == format_dtype(np.dtype("float32")) == "f32"
    assert format_array(np.zeros([], bool)) == "bool[]"
    assert format_array(jax.random.key(0)) == "key<fry>[]"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.00 B"), (999, "999.00 B"), (1000, "1.00 KB"), (1015, "1.02 KB"), (504_000, "504.00 KB"),
        (1_000_000, "1.00 MB"), (2_345_678_901, "2.35 GB"), (10**15, "1000.00 TB"),
    ],
)  # fmt: skip
def test_bytes(count, text):
    assert format_bytes(count) == text
