"""Which expert sees which token: the arithmetic of a router."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purestate._ops.inlined import inlined


class Routing(NamedTuple):
    """What the router of a `MixtureOfExperts` decided for tokens `[..., T]`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.MixtureOfExperts(4, 8).with_routing(x)[1])
    >>> x = jax.random.normal(jax.random.key(1), [2, 6, 3])
    >>> routing = f.apply(f.init(jax.random.key(0), x), None, x)
    >>> routing.experts.shape, routing.load_balancing_loss.shape
    ((2, 6, 2), ())

    Attributes:
      experts: the experts of each token, the best first; ids `[..., T, top_k]`.
      gates: the factors of their outputs, `[..., T, top_k]`.
      kept: which of them had a place for the token, bools `[..., T, top_k]`.
      load_balancing_loss: 1 if the load is even, up to the number of experts if one has it all.
        Add 0.01 of it to your loss, as in the paper. Fedus et al. 2021, arXiv:2101.03961,
        equation 4.
      router_z_loss: the mean of the squared log of the sum of the exponentials of the logits. It
        keeps logits small; add 0.001 of it to your loss. Zoph et al. 2022, arXiv:2202.08906,
        equation 5.
    """

    experts: jax.Array
    gates: jax.Array
    kept: jax.Array
    load_balancing_loss: jax.Array
    router_z_loss: jax.Array


def _mean_of_tokens(values: jax.Array, is_token: jax.Array) -> jax.Array:
    """The mean over the tokens that are not padding, `[S, ...]` to `[...]`."""
    weights = is_token.astype(values.dtype)
    total = jnp.tensordot(weights, values, 1)
    return total / jnp.maximum(weights.sum(), jnp.ones((), values.dtype))


def _places(experts: jax.Array, is_token: jax.Array, num_experts: int) -> jax.Array:
    """How many tokens each expert has before this one, for choices `[S, k]`.

    All first choices come before all second ones, and tokens come in their order.
    """
    in_order = experts.T.reshape(-1)
    counts = jnp.broadcast_to(is_token, experts.T.shape).reshape(-1, 1)
    chosen = jax.nn.one_hot(in_order, num_experts, dtype=jnp.int32)
    chosen = jnp.where(counts, chosen, jnp.zeros_like(chosen))
    before = jnp.cumsum(chosen, 0, dtype=jnp.int32) - chosen
    place = jnp.take_along_axis(before, in_order[:, None], 1)
    return place.reshape(experts.T.shape).T


def _route_group(
    logits: jax.Array, is_token: jax.Array, top_k: int, capacity: int, normalize: bool
) -> tuple[Routing, jax.Array, jax.Array]:
    """Routes tokens that compete for places, by logits `[S, E]`.

    Returns:
      The routing; the slot of each choice, `[S, k]`, and the token in each slot, `[E * C]`. A token
      without a place has the slot after the last, and an empty slot the token after the last.
    """
    num_tokens, num_experts = logits.shape
    probabilities = jax.nn.softmax(logits, -1)
    gates, experts = jax.lax.top_k(probabilities, top_k)
    if normalize:
        gates = gates / gates.sum(-1, keepdims=True)
    place = _places(experts, is_token, num_experts)
    kept = (place < capacity) & is_token[:, None]
    num_slots = num_experts * capacity
    slots = jnp.where(kept, experts * capacity + place, num_slots)
    token_of = jnp.broadcast_to(jnp.arange(num_tokens, dtype=slots.dtype)[:, None], slots.shape)
    tokens = jnp.full([num_slots], num_tokens, slots.dtype).at[slots].set(token_of, mode="drop")

    chosen = jax.nn.one_hot(experts, num_experts, dtype=logits.dtype).mean(1)
    shares = _mean_of_tokens(chosen, is_token) * _mean_of_tokens(probabilities, is_token)
    z_loss = _mean_of_tokens(jnp.square(jax.nn.logsumexp(logits, -1)), is_token)
    routing = Routing(experts, gates, kept, num_experts * shares.sum(), z_loss)
    return routing, slots, tokens


@inlined(static=(2, 3, 4))
def route(
    logits: jax.Array, is_token: jax.Array, top_k: int, capacity: int, normalize: bool
) -> tuple[Routing, jax.Array, jax.Array]:
    """Routes groups `[G, S, E]` as `_route_group` does. The losses are means over the groups."""

    def one(logits: jax.Array, is_token: jax.Array) -> Any:
        return _route_group(logits, is_token, top_k, capacity, normalize)

    routing, slots, tokens = jax.vmap(one)(logits, is_token)
    routing = routing._replace(
        load_balancing_loss=routing.load_balancing_loss.mean(),
        router_z_loss=routing.router_z_loss.mean(),
    )
    return routing, slots, tokens


@inlined()
def dispatch(x: jax.Array, tokens: jax.Array) -> jax.Array:
    """Puts tokens `[G, S, D]` into slots, `[G, E * C, D]`; empty ones are zeros."""
    return jnp.take_along_axis(x, tokens[..., None], 1, mode="fill", fill_value=0)


@inlined()
def combine(outputs: jax.Array, slots: jax.Array, gates: jax.Array) -> jax.Array:
    """Adds up what the slots `[G, E * C, D]` have for each token, by `[G, S, k]`: `[G, S, D]`."""
    flat = slots.reshape(slots.shape[0], -1, 1)
    found = jnp.take_along_axis(outputs, flat, 1, mode="fill", fill_value=0)
    found = found.reshape(*slots.shape, outputs.shape[-1])
    return (found * jnp.broadcast_to(gates[..., None], found.shape)).sum(-2)
