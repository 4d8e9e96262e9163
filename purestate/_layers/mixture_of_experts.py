"""`MixtureOfExperts`, a feed-forward layer in which each token sees only some of the weights."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module, name_like
from purestate._core.parameters_read import note_same_parameter
from purestate._core.variables import Initializer, get_parameter
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.expert_routing import Routing, combine, dispatch, route
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.linear import Linear
from purestate._layers.one_by_one import one_by_one
from purestate._ops.products import dot_general
from purestate._state.intermediates import sow


class ExpertLinear(Module):
    """One linear layer for each expert: `[G, E, C, D]` to `[G, E, C, output_size]`."""

    def __init__(self, output_size: int, layer: "MixtureOfExperts", name: str):
        super().__init__(name=name)
        self.output_size = output_size
        self.layer = layer

    def _get(self, name: str, shape: tuple[int, ...], dtype: Any, init: Initializer) -> jax.Array:
        value = get_parameter(
            name,
            shape,
            self.layer.param_dtype or dtype,
            one_by_one(init, 1),
            axes=("expert", *[None] * (len(shape) - 1)),
        )
        return note_same_parameter(lax.convert_element_type(value, dtype), value)

    def __call__(self, x: jax.Array) -> jax.Array:
        layer, dtype = self.layer, x.dtype
        shape = (layer.num_experts, x.shape[-1], self.output_size)
        w = self._get("w", shape, dtype, layer.w_init)
        out = jnp.moveaxis(dot_general(x, w, (((3,), (1,)), ((1,), (0,)))), 0, 1)
        if not layer.with_bias:
            return out
        b = self._get("b", (layer.num_experts, self.output_size), dtype, layer.b_init)
        return lax.add(out, lax.broadcast_in_dim(b, out.shape, (1, 3)))


class MixtureOfExperts(Module):
    """A feed-forward layer with many experts, of which a router chooses a few for each token.

    Shazeer et al. 2017, arXiv:1701.06538. The router is a Linear layer, in float32 or wider. Its
    softmax gives the `top_k` experts of a token, and the factors of their outputs. Each expert is a
    `GatedMLP`, or with `gated=False` two Linear layers with `activation` between them.

    Tokens of one sequence compete for places. An expert has `capacity_factor * T * top_k /
    num_experts` of them, rounded up. First choices get a place before second choices, and earlier
    tokens before later ones. A token without a place at an expert gets nothing from it, so use the
    layer inside a residual block. Lepikhin et al. 2020, arXiv:2006.16668, algorithm 1.

    The losses that keep the load even are sown into the collection "losses", under the names
    `load_balancing_loss` and `router_z_loss`; request them with `mutable=["losses"]`. Or call
    `with_routing`, which returns them.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_collections(lambda x: x + ps.MixtureOfExperts(8, hidden_size=16)(x))
    >>> x = jax.random.normal(jax.random.key(1), [2, 6, 4])
    >>> variables = f.init(jax.random.key(0), x)
    >>> for name, values in variables["params"].items():
    ...     print(name, jax.tree.map(jnp.shape, values))
    mixture_of_experts/router {'w': (4, 8)}
    mixture_of_experts/gate {'w': (8, 4, 16)}
    mixture_of_experts/up {'w': (8, 4, 16)}
    mixture_of_experts/down {'w': (8, 16, 4)}
    >>> out, updated = f.apply(variables, None, x, mutable=["losses"])
    >>> out.shape, list(updated["losses"]["mixture_of_experts"])
    ((2, 6, 4), ['load_balancing_loss', 'router_z_loss'])

    Args:
      num_experts: the number of experts. The first axis of their weights is named "expert", for
        `specs`.
      hidden_size: the size between the layers of an expert.
      output_size: the size of the last axis of the output; None for that of the input.
      top_k: how many experts a token sees.
      capacity_factor: how many places an expert has, relative to an even load; None for as many as
        there are tokens, so that all are kept, which takes `num_experts / top_k` times the work.
      activation: the activation of the experts.
      gated: whether each expert is a GatedMLP; False for an MLP of two layers.
      with_bias: whether the layers of the experts have biases.
      normalize_gates: whether the factors of a token sum to 1; None for False with `top_k=1`, as
        the router would have no gradient, and True otherwise.
      w_init: the initializer of the weights of one expert; see `Linear`.
      b_init: the initializer of the biases of one expert; see `Linear`.
      router_init: the initializer of the weights of the router; see `Linear`.
      name: the name of the module.
      param_dtype: the dtype of the experts' parameters; None for that of the input.

    Raises:
      LayerError: an option has no meaning.
    """

    def __init__(
        self,
        num_experts: int,
        hidden_size: int,
        output_size: int | None = None,
        top_k: int = 2,
        capacity_factor: float | None = 1.25,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.silu,
        gated: bool = True,
        with_bias: bool = False,
        normalize_gates: bool | None = None,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        router_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        for argument, value in (
            ("gated", gated),
            ("with_bias", with_bias),
            ("normalize_gates", normalize_gates),
        ):
            if value is not None and value.__class__ is not bool:
                check_bool(self, argument, value)
        if not 1 <= top_k <= num_experts:
            raise LayerError(
                f"MixtureOfExperts {self.module_name!r}: top_k is how many of the"
                f" {num_experts} experts a token sees, from 1 to {num_experts}; got {top_k}."
            )
        if capacity_factor is not None and capacity_factor <= 0:
            raise LayerError(
                f"MixtureOfExperts {self.module_name!r}: capacity_factor must be positive, such as"
                f" 1.25, or None to keep all tokens; got {capacity_factor}."
            )
        self.num_experts = num_experts
        self.hidden_size = hidden_size
        self.output_size = output_size
        self.top_k = top_k
        self.capacity_factor = capacity_factor
        self.activation = activation
        self.gated = gated
        self.with_bias = with_bias
        self.normalize_gates = top_k > 1 if normalize_gates is None else bool(normalize_gates)
        self.w_init = w_init or truncated_fan_in
        self.b_init = b_init or jnp.zeros
        self.router_init = router_init
        self.param_dtype = param_dtype

    def capacity(self, num_tokens: int) -> int:
        """Returns how many places an expert has.

        Args:
          num_tokens: T, the number of tokens of a sequence.

        Returns:
          At least 1 and at most T.
        """
        if self.capacity_factor is None:
            return num_tokens
        even = num_tokens * self.top_k / self.num_experts
        return min(num_tokens, max(1, math.ceil(self.capacity_factor * even)))

    def __call__(self, x: jax.Array, mask: ArrayLike | None = None) -> jax.Array:
        """Returns the sum of the outputs of each token's experts, times their factors.

        Args:
          x: `[..., T, D]`.
          mask: `[..., T]`, False for padding. Padding takes no place, does not count in the losses,
            and its output is zero.

        Returns:
          `[..., T, output_size]`.

        Raises:
          LayerError: the shape does not fit.
        """
        return _run(self, x, mask)[0]

    @name_like("__call__")
    def with_routing(
        self, x: jax.Array, mask: ArrayLike | None = None
    ) -> tuple[jax.Array, Routing]:
        """Returns the output, and what the router decided, with the losses.

        The parameters have the names that they have with `__call__`.

        Args:
          x: `[..., T, D]`.
          mask: `[..., T]`, False for padding.

        Returns:
          The output, and a `Routing`.

        Raises:
          LayerError: the shape does not fit.
        """
        return _run(self, x, mask)


def _run(
    layer: MixtureOfExperts, x: jax.Array, mask: ArrayLike | None
) -> tuple[jax.Array, Routing]:
    if isinstance(x, np.ndarray):
        x = jnp.asarray(x)
    try:
        shape, dtype = x.shape, x.dtype
    except AttributeError:
        raise not_an_array(layer, x) from None
    if len(shape) < 2:
        raise LayerError(
            f"MixtureOfExperts {layer.module_name!r} needs tokens [..., T, D], got shape {shape}."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise LayerError(
            f"MixtureOfExperts {layer.module_name!r} needs floats, got {dtype}. Ids are for"
            " ps.Embed, whose vectors go in here."
        )
    if mask is not None and np.shape(mask) != shape[:-1]:
        raise LayerError(
            f"MixtureOfExperts {layer.module_name!r} needs a mask of shape {shape[:-1]}, one"
            f" value for each token of its input of shape {shape}, got {np.shape(mask)}."
        )
    is_token = jnp.ones(shape[:-1], bool) if mask is None else jnp.asarray(mask, bool)
    router = Linear(layer.num_experts, False, layer.router_init, name="router")
    logits = router(x if dtype in (jnp.float32, jnp.float64) else x.astype(jnp.float32))

    num_tokens = shape[-2]
    capacity = layer.capacity(num_tokens)
    groups = math.prod(shape[:-2])
    x = x.reshape(groups, num_tokens, shape[-1])
    routing, slots, tokens = route(
        logits.reshape(groups, num_tokens, layer.num_experts),
        is_token.reshape(groups, num_tokens),
        layer.top_k,
        capacity,
        layer.normalize_gates,
    )
    in_slots = dispatch(x, tokens).reshape(groups, layer.num_experts, capacity, shape[-1])
    outputs = _experts(layer, in_slots, layer.output_size or shape[-1])
    out = combine(
        outputs.reshape(groups, layer.num_experts * capacity, outputs.shape[-1]),
        slots,
        routing.gates.astype(dtype),
    )
    for name in ("load_balancing_loss", "router_z_loss"):
        sow(name, getattr(routing, name), collection="losses", reduce=jnp.add)
    by_token = (*shape[:-1], layer.top_k)
    return out.reshape(*shape[:-1], out.shape[-1]), routing._replace(
        experts=routing.experts.reshape(by_token),
        gates=routing.gates.reshape(by_token),
        kept=routing.kept.reshape(by_token),
    )


def _experts(layer: MixtureOfExperts, x: jax.Array, output_size: int) -> jax.Array:
    """Runs all experts: `[G, E, C, D]` to `[G, E, C, output_size]`."""
    hidden = ExpertLinear(layer.hidden_size, layer, "gate" if layer.gated else "up")(x)
    hidden = layer.activation(hidden)
    if layer.gated:
        hidden = hidden * ExpertLinear(layer.hidden_size, layer, "up")(x)
    return ExpertLinear(output_size, layer, "down")(hidden)
