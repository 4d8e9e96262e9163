"""`DeepRNN`: cores and other layers, one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetIndexError, SonnetValueError
from purestate._sonnet.recurrent.core import RNNCore

Layers = Sequence[Callable[..., Any]]


class ChainRNN(RNNCore):
    """Runs layers one after the other; each core among them has a part of the state."""

    def __init__(
        self,
        layers: Layers | None,
        skip_connections: bool,
        concat_final_output_if_skip: bool = True,
        name: str | None = None,
    ):
        super().__init__(name)
        self._layers = layers if layers is not None else []
        self._skip_connections = skip_connections
        self._concat_final_output_if_skip = concat_final_output_if_skip

    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step of all layers.

        Args:
          inputs: the inputs of the first layer.
          prev_state: a state for each core.

        Returns:
          The outputs of the last layer (with skip connections those of all layers, concatenated,
          unless turned off), and a tuple of the new states.

        Raises:
          SonnetIndexError: there are fewer states than cores.
          SonnetValueError: skip connections without layers, or shapes that do not fit them.
        """
        self._check_states(prev_state)
        current = inputs
        outputs: list[Any] = []
        next_states: list[Any] = []
        for i, layer in enumerate(self._layers):
            if self._skip_connections and i > 0:
                current = jax.tree.map(self._concatenate, inputs, current)
            if isinstance(layer, RNNCore):
                current, next_state = layer(current, prev_state[len(next_states)])
                next_states.append(next_state)
            else:
                current = layer(current)
            outputs.append(current)
        if self._skip_connections and self._concat_final_output_if_skip:
            if not outputs:
                raise SonnetValueError(
                    f"{self.module_name!r} concatenates the outputs of its cores, but was made"
                    " without any. Give it at least one core."
                )
            current = jax.tree.map(self._concatenate, *outputs)
        return current, tuple(next_states)

    def _concatenate(self, *arrays: Any) -> jax.Array:
        parts = [as_array(x) for x in arrays]
        if len({x.shape[:-1] for x in parts}) > 1 or not parts[0].ndim:
            raise SonnetValueError(
                f"{self.module_name!r} concatenates inputs and outputs along the last axis, but"
                f" they have the shapes {', '.join(str(list(x.shape)) for x in parts)}. Use cores"
                " whose outputs differ from their inputs in that axis only."
            )
        return jnp.concatenate(parts, axis=-1)

    def _check_states(self, states: Any) -> None:
        num_cores = sum(isinstance(layer, RNNCore) for layer in self._layers)
        if num_cores and hasattr(states, "__len__") and len(states) < num_cores:
            raise SonnetIndexError(
                f"{self.module_name!r} has {num_cores} cores and needs a tuple with a state for"
                f" each, but the tuple has {len(states)}. Begin with core.initial_state(B)."
            )

    def initial_state(self, batch_size: int, **kwargs: Any) -> tuple[Any, ...]:
        """Returns the initial states of the cores, in their order.

        Args:
          batch_size: B.
          **kwargs: for `initial_state` of each core.

        Returns:
          A tuple of states.
        """
        return tuple(
            layer.initial_state(batch_size, **kwargs)
            for layer in self._layers
            if isinstance(layer, RNNCore)
        )


class DeepRNN(ChainRNN):
    """Runs layers one after the other: cores, other modules and functions.

    The state is a tuple with one state for each core.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(xs):
    ...     core = snt.DeepRNN([snt.Linear(5), jax.nn.relu, snt.LSTM(4), snt.GRU(3)])
    ...     return snt.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
    >>> g = ps.transform_with_state(f)
    >>> xs = jnp.ones([7, 2, 3])
    >>> params, state = g.init(jax.random.key(0), xs)
    >>> (outputs, last), _ = g.apply(params, state, None, xs)
    >>> outputs.shape, len(last)
    ((7, 2, 3), 2)

    Args:
      layers: cores (`RNNCore`), and functions of one argument.
      name: the name of the module.
    """

    def __init__(self, layers: Layers | None, name: str | None = None):
        super().__init__(layers, skip_connections=False, name=name)


class ResidualCore(RNNCore):
    """Adds the inputs of a core to its outputs."""

    def __init__(self, base_core: RNNCore):
        super().__init__(name=f"{base_core.name}_residual")
        self._base_core = base_core

    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step of the core; see `RNNCore.__call__`."""
        outputs, next_state = self._base_core(inputs, prev_state)
        return jax.tree.map(self._add, inputs, outputs), next_state

    def _add(self, inputs: Any, outputs: Any) -> jax.Array:
        inputs, outputs = as_array(inputs), as_array(outputs)
        try:
            jnp.broadcast_shapes(inputs.shape, outputs.shape)
        except ValueError:
            raise SonnetValueError(
                f"{self.module_name!r} adds the inputs of a core, {list(inputs.shape)}, to its"
                f" outputs, {list(outputs.shape)}. Use a core whose output has the size of its"
                " inputs."
            ) from None
        return inputs + outputs

    def initial_state(self, batch_size: int, **kwargs: Any) -> Any:
        """Returns the initial state of the core."""
        return self._base_core.initial_state(batch_size, **kwargs)


def _check_cores(layers: Sequence[RNNCore], kind: str) -> None:
    for i, layer in enumerate(layers):
        if not isinstance(layer, RNNCore):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SonnetValueError(
                f"`snt.deep_rnn_with_{kind}_connections` takes cores only (snt.RNNCore), but"
                f" layers[{i}] is {kind_of(layer)}. To have other layers in between, use"
                " snt.DeepRNN."
            )


def deep_rnn_with_skip_connections(
    layers: Sequence[RNNCore],
    concat_final_output: bool = True,
    name: str = "deep_rnn_with_skip_connections",
) -> RNNCore:
    """Puts cores on top of each other, each with the inputs of the first as further inputs.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.deep_rnn_with_skip_connections([snt.GRU(4), snt.GRU(5)])
    >>> core(jnp.ones([2, 3]), core.initial_state(2))[0].shape
    (2, 9)

    Args:
      layers: cores.
      concat_final_output: whether the outputs are those of all cores, concatenated, and not only
        those of the last one.
      name: the name of the module.

    Returns:
      A core, whose state is a tuple of theirs.

    Raises:
      SonnetValueError: a layer is not a core.
    """
    _check_cores(layers, "skip")
    return ChainRNN(layers, True, concat_final_output, name)


def deep_rnn_with_residual_connections(
    layers: Sequence[RNNCore], name: str = "deep_rnn_with_residual_connections"
) -> RNNCore:
    """Puts cores on top of each other, and adds to the outputs of each its inputs.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.deep_rnn_with_residual_connections([snt.GRU(3), snt.LSTM(3)])
    >>> core(jnp.ones([2, 3]), core.initial_state(2))[0].shape
    (2, 3)

    Args:
      layers: cores whose outputs have the size of their inputs.
      name: the name of the module.

    Returns:
      A core, whose state is a tuple of theirs.

    Raises:
      SonnetValueError: a layer is not a core.
    """
    _check_cores(layers, "residual")
    return ChainRNN([ResidualCore(layer) for layer in layers], False, name=name)
