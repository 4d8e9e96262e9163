"""A policy: in which floating point type to keep, to compute and to return."""

import dataclasses
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._precision.errors import PolicyError

T = TypeVar("T")


class PolicyLike(Protocol):
    """The interface that mixed precision needs; policies of the library jmp have it too."""

    @property
    def param_dtype(self) -> Any:
        """The dtype of new parameters."""
        ...

    def cast_to_compute(self, x: T) -> T:
        """Casts the arguments and variables of a module to the type it computes in."""
        ...

    def cast_to_output(self, x: T) -> T:
        """Casts the results of a module."""
        ...


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which floating point type parameters are kept in, a module computes in, and it returns.

    Arrays of other types, such as integers, masks and keys, and Python's numbers are never cast.
    Micikevicius et al. 2018, arXiv:1710.03740.

    >>> import jax.numpy as jnp, purestate as ps
    >>> policy = ps.mixed_precision.Policy(jnp.float32, jnp.bfloat16, jnp.float32)
    >>> x, count = policy.cast_to_compute((jnp.ones([2]), jnp.array(3)))
    >>> str(x.dtype), str(count.dtype)
    ('bfloat16', 'int32')

    Args:
      param_dtype: what new parameters are made as.
      compute_dtype: what parameters, state and arguments are cast to before a module sees them.
      output_dtype: what its results are cast to.

    Raises:
      PolicyError: one of them is not a floating point type.
    """

    param_dtype: Any
    compute_dtype: Any
    output_dtype: Any

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(
                self, field.name, _floating_dtype(field.name, getattr(self, field.name))
            )

    @classmethod
    def parse(cls, policy_name: str) -> "Policy":
        """Makes a policy of its name; the same as `get_named_policy`.

        >>> import purestate as ps
        >>> ps.mixed_precision.Policy.parse("bfloat16").param_dtype
        dtype(bfloat16)

        Args:
          policy_name: such as "params=float32,compute=bfloat16,output=float32".

        Returns:
          The policy.

        Raises:
          PolicyError: the name means nothing.
        """
        return cls(*_parse(policy_name))

    def cast_to_param(self, x: T) -> T:
        """Casts the floating point arrays of a pytree to `param_dtype`.

        >>> import jax.numpy as jnp, purestate as ps
        >>> str(ps.mixed_precision.Policy.parse("p=f16").cast_to_param(jnp.ones([2])).dtype)
        'float16'

        Args:
          x: a pytree.

        Returns:
          A pytree of the same structure.
        """
        return _cast_floating(x, self.param_dtype)

    def cast_to_compute(self, x: T) -> T:
        """Casts the floating point arrays of a pytree to `compute_dtype`; see `cast_to_param`.

        Args:
          x: a pytree.

        Returns:
          A pytree of the same structure.
        """
        return _cast_floating(x, self.compute_dtype)

    def cast_to_output(self, x: T) -> T:
        """Casts the floating point arrays of a pytree to `output_dtype`; see `cast_to_param`.

        Args:
          x: a pytree.

        Returns:
          A pytree of the same structure.
        """
        return _cast_floating(x, self.output_dtype)

    def with_output_dtype(self, output_dtype: DTypeLike) -> "Policy":
        """Returns the same policy with other results.

        >>> import purestate as ps
        >>> str(ps.mixed_precision.Policy.parse("p=f32,c=bf16").with_output_dtype("float32"))
        'params=float32,compute=bfloat16,output=float32'

        Args:
          output_dtype: what results are to be cast to.

        Returns:
          A new policy.

        Raises:
          PolicyError: it is not a floating point type.
        """
        return dataclasses.replace(self, output_dtype=output_dtype)

    def __str__(self) -> str:
        params, compute, output = self.param_dtype, self.compute_dtype, self.output_dtype
        return f"params={params.name},compute={compute.name},output={output.name}"


def get_named_policy(policy_name: str) -> Policy:
    """Makes a policy of its name.

    A name is one dtype for all three, or some of "params=...", "compute=..." and "output=...", also
    written "p=...", "c=..." and "o=...", with commas between. By default, params are float32,
    compute is the same as params, and output the same as compute. A dtype is "float64", "float32",
    "float16", "bfloat16", or short "f64", "f32", "f16", "bf16"; also "full" (float32), and "half":
    bfloat16 on a TPU, float16 elsewhere. These are the names that jmp has.

    >>> import purestate as ps
    >>> print(ps.mixed_precision.get_named_policy("c=bf16"))
    params=float32,compute=bfloat16,output=bfloat16

    Args:
      policy_name: such as "params=float32,compute=bfloat16,output=float32".

    Returns:
      The policy.

    Raises:
      PolicyError: the name means nothing.
    """
    return Policy.parse(policy_name)


_DTYPES = {
    "bf16": jnp.bfloat16,
    "bfloat16": jnp.bfloat16,
    "f16": jnp.float16,
    "float16": jnp.float16,
    "full": jnp.float32,
    "f32": jnp.float32,
    "float32": jnp.float32,
    "f64": jnp.float64,
    "float64": jnp.float64,
}
_PARTS = {"p": "params", "c": "compute", "o": "output"}


def _parse(policy_name: str) -> tuple[DTypeLike, DTypeLike, DTypeLike]:
    if "=" not in policy_name:
        dtype = _named_dtype(policy_name, policy_name)
        return dtype, dtype, dtype
    dtypes: dict[str, Any] = {}
    for assignment in policy_name.split(","):
        part, _, dtype_name = assignment.strip().partition("=")
        part = _PARTS.get(part, part)
        if part not in _PARTS.values():
            raise PolicyError(
                f"{part!r} in the policy {policy_name!r} is not a part of a policy: these are"
                " params, compute and output."
            )
        dtypes[part] = _named_dtype(dtype_name, policy_name)
    params = dtypes.get("params", jnp.float32)
    compute = dtypes.get("compute", params)
    return params, compute, dtypes.get("output", compute)


def _named_dtype(dtype_name: str, policy_name: str) -> DTypeLike:
    if dtype_name == "half":
        return jnp.bfloat16 if jax.local_devices()[0].platform == "tpu" else jnp.float16
    if dtype_name not in _DTYPES:
        raise PolicyError(
            f"{dtype_name!r} in the policy {policy_name!r} is not a dtype for a policy. These are"
            f" {', '.join(_DTYPES)} and half. An example:"
            ' "params=float32,compute=bfloat16,output=float32".'
        )
    return _DTYPES[dtype_name]


def _floating_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    try:
        if dtype is not None and jnp.issubdtype(
            dtype, jnp.floating
        ):  # NumPy takes None for float64
            return jnp.dtype(dtype)
    except TypeError:
        pass
    raise PolicyError(
        f"{name} of a policy must be a floating point type, such as jnp.bfloat16, not {dtype!r}."
    )


def _cast_floating(tree: T, dtype: DTypeLike) -> T:
    def cast(x: Any) -> Any:
        if isinstance(x, (jax.Array, np.ndarray)) and jnp.issubdtype(x.dtype, jnp.floating):
            return x.astype(dtype)
        return x

    return jax.tree.map(cast, tree)
