"""`from_torch` and `to_torch`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from purestate._convert.convert import convert_from, convert_to
from purestate._convert.names import Names
from purestate._convert.report import Converted
from purestate._convert.torch_library import TORCH


def from_torch(
    state_dict: Mapping[str, Any],
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    transposed: str | Sequence[str] = (),
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts a state dict of PyTorch to params and state.

    Layers are matched by `names`, then by equal names. Of the rest, layers with the same arrays
    are matched in order, if both models have the same shapes in the same order, or if no other
    layer has their shapes. The report says which. Everything else is an error that lists it.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> state_dict = {"fc.weight": np.ones([2, 3], np.float32), "fc.bias": np.zeros(2, np.float32)}
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_torch(
    ...     state_dict, f, jax.random.key(0), x, check=jnp.array([[3.0, 3.0]])
    ... )
    >>> print(report)
    fc -> linear (shape)
    1 layer matched: 1 by shapes that occur once
    verified: the largest difference of the outputs is 0

    These layers are known:

    - Linear, Conv1d to Conv3d, ConvTranspose1d to 3d, Embedding: `Linear`, `Conv1D` ...
    - BatchNorm: `BatchNorm`, with its running statistics
    - LayerNorm, GroupNorm, InstanceNorm, RMSNorm: the same
    - MultiheadAttention: four linear layers: query, key, value and linear
    - LSTM, LSTMCell; a layer of it is "lstm.l0" if there are several: `LSTM`
    - GRU, GRUCell, likewise: `GRU(..., reset_after=True)`
    - RNN, RNNCell, likewise: `VanillaRNN`, as its two linear layers
    - weight_norm, also that of before torch 2.0: the layer in a `ps.weight_norm` block
    - a parameter outside these layers: a variable, as it is

    Args:
      state_dict: `{name: array}`, of tensors, arrays of NumPy or anything with `__array__`.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      names: `{name: path}` from modules or parameters in the state dict to layers or variables of
        the model. Paths may leave out `~`. Wildcards are those of `ps.surgery.glob`, and the text
        that the first one matches replaces the first one in the path, and so on. A name without
        wildcards stands for a module with all in it. The first entry that fits counts. The path
        None leaves out what the model does not need. A tuple of names or of paths is for layers
        whose outputs are joined in the other model, such as query, key and value.
      transposed: patterns of the modules whose weight is `[in, out]`, as in the Conv1D of
        transformers.
      check: runs the other model on the arguments of `apply`, or is what it returned. The outputs
        are compared with those of `f`. False if you compare them yourself.
      check_args: the arguments of `apply` for `check`, for instance with another `is_training`;
        None for `example`.

    Returns:
      Params, state and a `ConversionReport`. Arrays have the dtypes of the model.

    Raises:
      ConversionError: layers have no match, or the outputs differ by more than 0.1 % of the
        largest.
      UnverifiedWarning: as a warning, without `check`.
    """
    return convert_from(
        TORCH, state_dict, f, rng, example,
        names=names, transposed=transposed, check=check, check_args=check_args,
    )  # fmt: skip


def to_torch(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Mapping[str, Any],
    names: Names | None = None,
    transposed: str | Sequence[str] = (),
) -> dict[str, Any]:
    """Converts params and state to a state dict of PyTorch; the inverse of `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"fc.weight": np.ones([2, 3], np.float32), "fc.bias": np.ones(2, np.float32)}
    >>> state_dict = ps.convert.to_torch(params, f, jax.random.key(0), x, like=like)
    >>> bool((state_dict["fc.weight"] == params["linear"]["w"].T).all())
    True

    An LSTM of torch has two biases that are added. The second one gets the 1 that `ps.LSTM` adds
    for the forget gate.

    Args:
      variables: what `init` returned, or what `from_torch` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: a state dict of the model that is to load the result. The result has its names, its
        dtypes, and tensors if it has them. What `names` leaves out is copied.
      names: see `from_torch`.
      transposed: see `from_torch`.

    Returns:
      A state dict.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(
        TORCH, variables, f, rng, example, like=like, names=names, transposed=transposed
    )
