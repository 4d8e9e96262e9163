"""Cores on top of each other."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class
from purestate._layers.recurrent.core import RecurrentError, RNNCore, initial_state_of


def _is_none(x: object) -> bool:
    return x is None


def _join(x: jax.Array | None, *others: jax.Array) -> jax.Array | None:
    """Joins the last axes; leaves out what is None in the inputs."""
    return None if x is None else jnp.concatenate((x, *others), axis=-1)


class _DeepRNN(RNNCore):
    """Runs layers one after the other; those that are cores each have a part of the state."""

    def __init__(
        self,
        layers: Sequence[Callable[..., Any]],
        skip_connections: bool,
        name: str | None = None,
        *,
        residual_connections: bool = False,
    ):
        super().__init__(name=name)
        self.layers = layers
        for layer in layers:
            if layer.__class__ is MODULE_CLASS:
                raise is_a_class(f"DeepRNN {self.module_name!r}", "each layer", layer)
        self.skip_connections = skip_connections
        self.residual_connections = residual_connections
        if skip_connections or residual_connections:
            kind = "skip" if skip_connections else "residual"
            for i, layer in enumerate(layers):
                if not isinstance(layer, RNNCore):
                    raise LayerError(
                        f"deep_rnn_with_{kind}_connections takes cores alone (RNNCore), but"
                        f" layers[{i}] is {kind_of(layer)}. To have other layers in between, use"
                        " DeepRNN, or write a core of your own with them in it."
                    )

    def __call__(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Runs one step of all layers.

        Args:
          inputs: the inputs of the first layer.
          state: one state for each core.

        Returns:
          The output of the last layer (with skip connections: of all, joined along the last axis),
          and the new states.

        Raises:
          RecurrentError: there are not as many states as cores, or, with residual connections, a
            core's outputs have another shape than its inputs.
        """
        num_cores = sum(isinstance(layer, RNNCore) for layer in self.layers)
        if len(state) != num_cores:
            raise RecurrentError(
                f"{type(self).__name__} {self.module_name!r} needs a state for each of its"
                f" {num_cores} cores, as core.initial_state(batch_size) makes them, but was given"
                f" {len(state)}."
            )
        states = iter(state)
        current = inputs
        outputs: list[Any] = []
        next_states: list[Any] = []
        for i, layer in enumerate(self.layers):
            if self.skip_connections and i > 0:
                current = jax.tree.map(_join, inputs, current, is_leaf=_is_none)
            if isinstance(layer, RNNCore):
                before = current
                current, next_state = layer(current, next(states))
                if self.residual_connections:
                    current = self._add(i, before, current)
                outputs.append(current)
                next_states.append(next_state)
            else:
                current = layer(current)
        if self.skip_connections:
            current = jax.tree.map(_join, *outputs)
        return current, tuple(next_states)

    def _add(self, i: int, inputs: Any, outputs: Any) -> Any:
        shapes = jax.tree.map(jnp.shape, inputs), jax.tree.map(jnp.shape, outputs)
        if shapes[0] != shapes[1]:
            raise RecurrentError(
                f"deep_rnn_with_residual_connections {self.module_name!r} adds the inputs of each"
                f" core to its outputs, but layers[{i}] was given {shapes[0]} and returned"
                f" {shapes[1]}. Give all cores the size of the inputs, or put a ps.Linear of that"
                " size before the unroll."
            )
        return jax.tree.map(jnp.add, outputs, inputs)

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> tuple[Any, ...]:
        """Returns the initial states of the cores.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state's floating point arrays; None for that of each core.

        Returns:
          A tuple with one state for each core.
        """
        return tuple(
            initial_state_of(layer, batch_size, dtype)
            for layer in self.layers
            if isinstance(layer, RNNCore)
        )


class DeepRNN(_DeepRNN):
    """Runs layers one after the other, cores and any other callables.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.DeepRNN([ps.LSTM(4), jax.nn.relu, ps.Linear(3), ps.GRU(2)])
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> g = ps.transform(f)
    >>> x = jnp.ones([5, 6])
    >>> out, (lstm_state, gru_state) = g.apply(g.init(jax.random.key(0), x), None, x)
    >>> out.shape, lstm_state.cell.shape, gru_state.shape
    ((5, 2), (5, 4), (5, 2))

    Args:
      layers: cores and functions of one argument.
      name: the name of the module.

    Raises:
      ArgumentError: a layer is a class.
    """

    def __init__(self, layers: Sequence[Callable[..., Any]], name: str | None = None):
        super().__init__(layers, skip_connections=False, name=name)


def deep_rnn_with_skip_connections(layers: Sequence[RNNCore], name: str | None = None) -> RNNCore:
    """Returns a core that runs cores one after the other, each of which sees the inputs too.

    From the second on, a core gets the inputs joined with the outputs of the one before it; the
    output is that of all cores, joined. Graves 2013, arXiv:1308.0850.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.deep_rnn_with_skip_connections([ps.VanillaRNN(3), ps.VanillaRNN(5)])
    ...     return core(x, core.initial_state(x.shape[0]))[0]
    >>> g = ps.transform(f)
    >>> x = jnp.ones([4, 2])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (4, 8)

    Args:
      layers: the cores.
      name: the name of the module.

    Returns:
      A core.

    Raises:
      LayerError: a layer is not a core.
      ArgumentError: a layer is a class.
    """
    return _DeepRNN(layers, skip_connections=True, name=name)


def deep_rnn_with_residual_connections(
    layers: Sequence[RNNCore], name: str | None = None
) -> RNNCore:
    """Returns a core that runs cores in order, and adds the inputs of each to its outputs.

    That is what the next core gets, and of the last what is returned; so all sizes are those of the
    inputs. Wu et al. 2016, arXiv:1609.08144, section 3.1.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.deep_rnn_with_residual_connections([ps.LSTM(3), ps.LSTM(3), ps.LSTM(3)])
    ...     return core(x, core.initial_state(x.shape[0]))[0]
    >>> g = ps.transform(f)
    >>> x = jnp.ones([4, 3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (4, 3)

    Args:
      layers: the cores.
      name: the name of the module.

    Returns:
      A core.

    Raises:
      LayerError: a layer is not a core.
      ArgumentError: a layer is a class.
    """
    return _DeepRNN(
        layers, skip_connections=False, name=name or "deep_rnn", residual_connections=True
    )
