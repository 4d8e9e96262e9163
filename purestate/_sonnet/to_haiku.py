"""`to_haiku`: from the layouts of `purestate.sonnet` to those of the ordinary layers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from purestate._convert.names import Names
from purestate._convert.report import Converted
from purestate._convert.sonnet import from_sonnet
from purestate._core.path import variable_path
from purestate._layers.moving_averages import ExponentialMovingAverage
from purestate._nets.vector_quantizer import VectorQuantizer, VectorQuantizerEMA
from purestate._state.specs import specs

Bundle = Mapping[str, Mapping[str, Any]]

# The layouts of these are the same, so that a variable is the one of its name.
_SAME = (ExponentialMovingAverage, VectorQuantizer, VectorQuantizerEMA)


def to_haiku(
    params: Bundle,
    state: Bundle,
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts params and state of Sonnet's modules to those of the ordinary layers.

    The gates of an LSTM change their order and its forget bias moves, the kernels of transposed
    convolutions are flipped, and so on. A model can then go on with `ps.LSTM` and the like.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> x = jnp.ones([1, 4, 4, 3])
    >>> before = ps.transform_with_state(lambda x: snt.Conv2DTranspose(2, 3)(x))
    >>> params, state = before.init(jax.random.key(0), x)
    >>> after = ps.transform_with_state(lambda x: ps.Conv2DTranspose(2, 3)(x))
    >>> out = before.apply(params, state, None, x)[0]
    >>> params, state, report = snt.to_haiku(
    ...     params, state, after, jax.random.key(0), x, check=out
    ... )
    >>> bool(jnp.allclose(after.apply(params, state, None, x)[0], out, atol=1e-5))
    True

    Args:
      params: of a function with Sonnet's modules.
      state: likewise.
      f: the function with the ordinary layers, as one of the transforms returned it.
      rng: the random key for `init` of `f`.
      *example: the other arguments of its `init`.
      names: which module is which, if names differ; see `ps.convert.from_torch`.
      check: the outputs to be expected; see `ps.convert.from_torch`.
      check_args: see `ps.convert.from_torch`.

    Returns:
      Params, state and a `ConversionReport`, as of `ps.convert.from_sonnet`.

    Raises:
      ConversionError: layers have no match, or the outputs differ.
      UnverifiedWarning: as a warning, without `check`.
    """
    weights = {
        variable_path(module, name): np.asarray(value)
        for bundles in (params, state)
        for module, bundle in bundles.items()
        for name, value in bundle.items()
    }
    weights = _with_split_conv_lstms(weights)
    wanted: Any = specs(f)(rng, *example)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    chosen: Any = _same_names(weights, wanted) | dict(names or {})
    return from_sonnet(
        weights, f, rng, *example, names=chosen or None, check=check, check_args=check_args
    )


def _with_split_conv_lstms(weights: dict[str, Any]) -> dict[str, Any]:
    """Brings the convolutional LSTMs into the layout of the ordinary ones.

    Sonnet's have one bias, with the forget bias in it, and the gates i, f, g, o. The others have a
    bias in each convolution, add 1 to the forget gate, and order the gates i, g, f, o.
    """
    done = dict(weights)
    for name, kernel in weights.items():
        core = name.removesuffix("/input_to_hidden/w")
        if core == name or kernel.ndim < 3:
            continue
        hidden, bias = f"{core}/hidden_to_hidden", done.pop(f"{core}/b")
        done[name] = _gates_moved(kernel)
        done[f"{hidden}/w"] = _gates_moved(weights[f"{hidden}/w"])
        i, f, g, o = np.split(bias, 4)
        done[f"{core}/input_to_hidden/b"] = np.concatenate([i, g, f - 1, o])
        done[f"{hidden}/b"] = np.zeros_like(bias)
    return done


def _gates_moved(kernel: Any) -> Any:
    i, f, g, o = np.split(kernel, 4, axis=-1)
    return np.concatenate([i, g, f, o], axis=-1)


def _same_names(weights: Mapping[str, Any], wanted: tuple[Any, ...]) -> dict[str, str]:
    """Returns the names of variables whose layouts are the same on both sides."""
    found: dict[str, str] = {}
    for bundles in wanted:
        for module, bundle in bundles.items():
            for name, spec in bundle.items():
                plain = "/".join(part for part in module.split("/") if not part.startswith("~"))
                given = variable_path(plain, name)
                if issubclass(spec.module or object, _SAME) and given in weights:
                    unit = plain if name == "embeddings" else given
                    found[unit] = variable_path(module, name)
    # The first name that fits decides, and a module's name fits all that is below it.
    return dict(sorted(found.items(), key=lambda pair: -pair[0].count("/")))
