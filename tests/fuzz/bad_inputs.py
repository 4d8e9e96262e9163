"""Wrong values, the places of the API to put them in, and what may come of it.

`outcome_of(call, value)` is one of:

- "ok": a result. Whether it is right cannot be told in general, but it has no dead tracer, and no NaN out of finite inputs.
- "ours": a `PurestateError`.
- "wrong: ...": anything else, such as an error of JAX or Python that came up in code of ours.
- "user": the error of a function that was given, or of this table; there is nothing of purestate between it and the value.
"""

import dataclasses
import math
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from purestate._core.frame import inside_transform

X = np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(2, 3)
KEY = np.array([0, 7], np.uint32)


@dataclasses.dataclass
class NotAModule:
    size: int = 3


class Unhashable:
    __hash__ = None  # pyright: ignore


class Strange:
    """Has attributes that fail when looked at."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("no shape")


def _function(*args: Any) -> Any:
    return args[0] if args else None


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "3": lambda: 3,
    "0": lambda: 0,
    "-1": lambda: -1,
    "2**70": lambda: 2**70,
    "0.5": lambda: 0.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "complex": lambda: 1j,
    "word": lambda: "word",
    "empty string": lambda: "",
    "string of marks": lambda: "a/~/b c\n\0",
    "bytes": lambda: b"word",
    "object": object,
    "class": lambda: NotAModule,
    "instance": NotAModule,
    "unhashable": Unhashable,
    "strange": Strange,
    "error": lambda: ValueError("a value"),
    "function": lambda: _function,
    "compiled function": lambda: jax.jit(_function),
    "module class": lambda: ps.Linear,
    "dtype": lambda: jnp.bfloat16,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "set": lambda: {1, 2},
    "generator": lambda: (i for i in range(3)),
    "[None]": lambda: [None],
    "[1, [2]]": lambda: [1, [2]],
    "['a']": lambda: ["a"],
    "(-1,)": lambda: (-1,),
    "(2.5,)": lambda: (2.5,),
    "(2**40, 2)": lambda: (2**40, 2),
    "(2, None)": lambda: (2, None),
    "dict of None": lambda: {"linear": None},
    "dict of dict of None": lambda: {"linear": {"w": None, "b": None}},
    "dict of words": lambda: {"linear": {"w": "word", "b": "word"}},
    "dict by numbers": lambda: {1: {2: np.float32(3)}},
    "dict of arrays": lambda: {"linear": X},
    "deep dict": lambda: {"linear": {"w": {"w": X}, "b": X[0]}},
    "wrong shapes": lambda: {"linear": {"w": X[:, :0], "b": X[0, :0]}},
    "wrong dtypes": lambda: {"linear": {"w": np.array([["a"] * 3] * 3), "b": np.array(["a"] * 3)}},
    "mapping proxy": lambda: types.MappingProxyType({"linear": types.MappingProxyType({})}),
    "float": lambda: np.float32(2),
    "nan array": lambda: np.array(math.nan, np.float32),
    "empty array": lambda: np.zeros([0], np.float32),
    "no rows": lambda: np.zeros([0, 3], np.float32),
    "no columns": lambda: np.zeros([2, 0], np.float32),
    "array": lambda: X,
    "array of rank 4": lambda: np.zeros([1, 2, 3, 1], np.float32),
    "float64": lambda: X.astype(np.float64),
    "float16": lambda: X.astype(np.float16),
    "bfloat16": lambda: jnp.asarray(X, jnp.bfloat16),
    "ints": lambda: np.arange(6).reshape(2, 3),
    "bools": lambda: X > 0,
    "complex array": lambda: X.astype(np.complex64),
    "object array": lambda: np.array([[None, "a", 3]] * 2, object),
    "array of words": lambda: np.array([["a", "b", "c"]] * 2),
    "dates": lambda: np.array(["2000-01-01"], "datetime64[D]"),
    "masked array": lambda: np.ma.masked_array(X, X > 0),
    "raw key": lambda: KEY,
    "typed key": lambda: jax.random.key(3),
    "typed keys": lambda: jax.random.split(jax.random.key(3), 2),
    "three numbers": lambda: np.arange(3, dtype=np.uint32),
    "only a shape": lambda: jax.ShapeDtypeStruct((2, 3), jnp.float32),
    "partition spec": lambda: jax.sharding.PartitionSpec("x"),
    "deleted array": lambda: _deleted(),
}


def _deleted() -> Any:
    array = jnp.asarray(X) + 1
    array.delete()
    return array


def in_frame(f: Callable[[], Any], x: Any = None) -> Any:
    """Runs `f` in `init`, and in `apply` with what came of it."""
    pair = ps.transform_with_state(f)
    variables = pair.init(KEY)
    return variables, pair.apply(*variables, KEY)


def layer(make: Callable[[Any], Any], x: Any = X) -> Callable[[Any], Any]:
    return lambda v: in_frame(lambda: make(v)(x))


_DENSE = ps.transform_with_state(
    lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(3)(x), is_training=True)
)
_PARAMS, _STATE = _DENSE.init(KEY, X)
_COLLECTIONS = ps.transform_with_collections(
    lambda x: ps.Linear(3)(x) + ps.get_state("s", [], init=jnp.ones)
)
_VARIABLES = _COLLECTIONS.init(KEY, X)


def _with(tree: Any, module: str, name: str, value: Any) -> Any:
    return {**tree, module: {**tree[module], name: value}}


def _enter(context: Any) -> Any:
    with context:
        return ps.Linear(3)(X)


def _hook(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda v: in_frame(lambda: _enter(make(v)))


def _returns(v: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: v


_one = ps.Linear
_ones = jnp.ones
_BUNDLE = {"a": {"w": X, "b": X[0]}, "b": {"w": X}}
_yes = lambda *args: True

# What is given in each place, by what it is called.
CALLS: dict[str, Callable[[Any], Any]] = {
    # transforms
    "transform(f)": lambda v: ps.transform(v).init(KEY),
    "transform_with_state(f)": lambda v: ps.transform_with_state(v).init(KEY),
    "transform_with_collections(f)": lambda v: ps.transform_with_collections(v).init(KEY),
    "transform(rng_mode)": lambda v: ps.transform(lambda: ps.next_rng_key(), rng_mode=v).init(KEY),
    "multi_transform(f)": lambda v: ps.multi_transform(v),
    "multi_transform(f returns)": lambda v: ps.multi_transform(_returns(v)),
    "without_state(f)": lambda v: ps.without_state(v).init(KEY),
    "with_empty_state(f)": lambda v: ps.with_empty_state(v).init(KEY),
    "without_apply_rng(f)": lambda v: ps.without_apply_rng(v),
    # init and apply
    "init(rng)": lambda v: _DENSE.init(v, X),
    "init(x)": lambda v: _DENSE.init(KEY, v),
    "apply(params)": lambda v: _DENSE.apply(v, _STATE, KEY, X),
    "apply(state)": lambda v: _DENSE.apply(_PARAMS, v, KEY, X),
    "apply(rng)": lambda v: _DENSE.apply(_PARAMS, _STATE, v, X),
    "apply(x)": lambda v: _DENSE.apply(_PARAMS, _STATE, KEY, v),
    "apply(module of params)": lambda v: _DENSE.apply({**_PARAMS, "linear": v}, _STATE, KEY, X),
    "apply(parameter)": lambda v: _DENSE.apply(_with(_PARAMS, "linear", "w", v), _STATE, KEY, X),
    "apply(module of state)": lambda v: _DENSE.apply(
        _PARAMS, {**_STATE, "batch_norm/~/mean_ema": v}, KEY, X
    ),
    "apply(state variable)": lambda v: _DENSE.apply(
        _PARAMS, _with(_STATE, "batch_norm/~/mean_ema", "hidden", v), KEY, X
    ),
    "collections: init(rng)": lambda v: _COLLECTIONS.init(v, X),
    "collections: apply(variables)": lambda v: _COLLECTIONS.apply(v, KEY, X),
    "collections: apply(collection)": lambda v: _COLLECTIONS.apply(
        {**_VARIABLES, "params": v}, KEY, X
    ),
    "collections: apply(mutable)": lambda v: _COLLECTIONS.apply(_VARIABLES, KEY, X, mutable=v),
    "collections: apply(rng)": lambda v: _COLLECTIONS.apply(_VARIABLES, v, X),
    # variables
    "get_parameter(name)": lambda v: in_frame(lambda: ps.get_parameter(v, [3], init=_ones)),
    "get_parameter(shape)": lambda v: in_frame(lambda: ps.get_parameter("w", v, init=_ones)),
    "get_parameter(dtype)": lambda v: in_frame(lambda: ps.get_parameter("w", [3], v, init=_ones)),
    "get_parameter(init)": lambda v: in_frame(lambda: ps.get_parameter("w", [3], init=v)),
    "get_parameter(init returns)": lambda v: in_frame(
        lambda: ps.get_parameter("w", [2, 3], init=_returns(v))
    ),
    "get_parameter(trainable)": lambda v: in_frame(
        lambda: ps.get_parameter("w", [3], init=_ones, trainable=v)
    ),
    "get_state(name)": lambda v: in_frame(lambda: ps.get_state(v, [3], init=_ones)),
    "get_state(shape)": lambda v: in_frame(lambda: ps.get_state("s", v, init=_ones)),
    "get_state(dtype)": lambda v: in_frame(lambda: ps.get_state("s", [3], v, init=_ones)),
    "get_state(init)": lambda v: in_frame(lambda: ps.get_state("s", [3], init=v)),
    "get_state(init returns)": lambda v: in_frame(
        lambda: ps.get_state("s", [2, 3], init=_returns(v))
    ),
    "get_state(collection)": lambda v: in_frame(
        lambda: ps.get_state("s", [3], init=_ones, collection=v)
    ),
    "set_state(name)": lambda v: in_frame(lambda: ps.set_state(v, jnp.ones([3]))),
    "set_state(value)": lambda v: in_frame(lambda: ps.set_state("s", v)),
    "has_state(name)": lambda v: in_frame(lambda: ps.has_state(v)),
    "sow(name)": lambda v: in_frame(lambda: ps.sow(v, jnp.ones([3]))),
    "sow(value)": lambda v: in_frame(lambda: ps.sow("s", v)),
    # modules
    "Module(name)": lambda v: in_frame(lambda: ps.Linear(3, name=v)(X)),
    "name_scope(name)": lambda v: in_frame(lambda: _enter(ps.name_scope(v))),
    "name_scope(method_name)": lambda v: in_frame(
        lambda: _enter(ps.name_scope("a", method_name=v))
    ),
    "force_name(name)": lambda v: in_frame(lambda: ps.Linear(3, name=ps.force_name(v))(X)),
    "to_module(f)": lambda v: in_frame(lambda: ps.to_module(v)()(X)),
    # keys
    "with_rng(key)": lambda v: in_frame(lambda: _enter(ps.with_rng(v))),
    "next_rng_keys(num)": lambda v: in_frame(lambda: ps.next_rng_keys(v)),
    "reserve_rng_keys(num)": lambda v: in_frame(lambda: ps.reserve_rng_keys(v)),
    "replace_rng_sequence_state": lambda v: in_frame(
        lambda: (ps.replace_rng_sequence_state(v), ps.next_rng_key())
    ),
    "next_rng_key(stream)": lambda v: in_frame(lambda: ps.next_rng_key(v)),
    "PRNGSequence(key)": lambda v: next(ps.PRNGSequence(v)),
    # hooks
    "custom_getter(f)": _hook(ps.custom_getter),
    "custom_getter(f returns)": _hook(lambda v: ps.custom_getter(_returns(v))),
    "custom_creator(f)": _hook(ps.custom_creator),
    "custom_creator(f returns)": _hook(lambda v: ps.custom_creator(_returns(v))),
    "intercept_methods(f)": _hook(ps.intercept_methods),
    "custom_setter(f)": lambda v: in_frame(lambda: _set_within(ps.custom_setter(v))),
    # layers: options
    "Linear(output_size)": layer(lambda v: ps.Linear(v)),
    "Linear(with_bias)": layer(lambda v: ps.Linear(3, with_bias=v)),
    "Linear(w_init)": layer(lambda v: ps.Linear(3, w_init=v)),
    "Bias(output_size)": layer(lambda v: ps.Bias(v)),
    "Conv1D(output_channels)": layer(lambda v: ps.Conv1D(v, 2)),
    "Conv1D(kernel_shape)": layer(lambda v: ps.Conv1D(3, v)),
    "Conv1D(stride)": layer(lambda v: ps.Conv1D(3, 2, stride=v)),
    "Conv1D(padding)": layer(lambda v: ps.Conv1D(3, 2, padding=v)),
    "Conv1D(feature_group_count)": layer(lambda v: ps.Conv1D(3, 2, feature_group_count=v)),
    "BatchNorm(decay_rate)": lambda v: in_frame(
        lambda: ps.BatchNorm(True, True, v)(X, is_training=True)
    ),
    "BatchNorm(axis)": lambda v: in_frame(
        lambda: ps.BatchNorm(True, True, 0.9, axis=v)(X, is_training=True)
    ),
    "BatchNorm(is_training)": lambda v: in_frame(
        lambda: ps.BatchNorm(True, True, 0.9)(X, is_training=v)
    ),
    "LayerNorm(axis)": layer(lambda v: ps.LayerNorm(v, True, True)),
    "GroupNorm(groups)": layer(lambda v: ps.GroupNorm(v)),
    "RMSNorm(axis)": layer(lambda v: ps.RMSNorm(v)),
    "Embed(vocab_size)": layer(lambda v: ps.Embed(v, 3), np.array([0, 1])),
    "MLP(sizes)": layer(lambda v: ps.nets.MLP(v)),
    "MLP(activation)": layer(lambda v: ps.nets.MLP([3, 3], activation=v)),
    "Sequential(layers)": layer(lambda v: ps.Sequential(v)),
    "Flatten(preserve_dims)": layer(lambda v: ps.Flatten(v)),
    "Reshape(shape)": layer(lambda v: ps.Reshape(v)),
    "GRU(hidden_size)": lambda v: in_frame(lambda: ps.GRU(v)(X, ps.GRU(3).initial_state(2))),
    "LSTM(state)": lambda v: in_frame(lambda: ps.LSTM(3)(X, v)),
    "dropout(rate)": lambda v: in_frame(lambda: ps.dropout(ps.next_rng_key(), v, X)),
    "dropout(rng)": lambda v: in_frame(lambda: ps.dropout(v, 0.5, X)),
    "avg_pool(window)": lambda v: ps.avg_pool(X, v, 1, "VALID"),
    "one_hot(num_classes)": lambda v: ps.one_hot(np.array([0, 1]), v),
    "MultiHeadAttention(num_heads)": lambda v: in_frame(
        lambda: ps.MultiHeadAttention(v, 2, w_init=_ones)(X, X, X)
    ),
    "MultiHeadAttention(mask)": lambda v: in_frame(
        lambda: ps.MultiHeadAttention(1, 2, w_init=_ones)(X, X, X, mask=v)
    ),
    "VarianceScaling(scale)": lambda v: in_frame(
        lambda: ps.Linear(3, w_init=ps.initializers.VarianceScaling(v))(X)
    ),
    "VarianceScaling(mode)": lambda v: ps.initializers.VarianceScaling(1.0, v),
    "RandomNormal(stddev)": lambda v: in_frame(
        lambda: ps.Linear(3, w_init=ps.initializers.RandomNormal(v))(X)
    ),
    "Constant(value)": lambda v: in_frame(
        lambda: ps.Linear(3, w_init=ps.initializers.Constant(v))(X)
    ),
    # layers: inputs
    "Linear(...)(x)": lambda v: in_frame(lambda: ps.Linear(3)(v)),
    "Conv1D(...)(x)": lambda v: in_frame(lambda: ps.Conv1D(3, 2)(v)),
    "LayerNorm(...)(x)": lambda v: in_frame(lambda: ps.LayerNorm(-1, True, True)(v)),
    "BatchNorm(...)(x)": lambda v: in_frame(
        lambda: ps.BatchNorm(True, True, 0.9)(v, is_training=True)
    ),
    "Embed(...)(ids)": lambda v: in_frame(lambda: ps.Embed(5, 3)(v)),
    "MLP(...)(x)": lambda v: in_frame(lambda: ps.nets.MLP([3, 3])(v)),
    "GRU(...)(x)": lambda v: in_frame(lambda: ps.GRU(3)(v, np.ones([2, 3], np.float32))),
    "Flatten()(x)": lambda v: in_frame(lambda: ps.Flatten()(v)),
    "Bias()(x)": lambda v: in_frame(lambda: ps.Bias()(v)),
    "Embed(...).attend(query)": lambda v: in_frame(lambda: ps.Embed(5, 3).attend(v)),
    "GroupNorm(...)(x)": lambda v: in_frame(lambda: ps.GroupNorm(1)(v)),
    "RMSNorm(...)(x)": lambda v: in_frame(lambda: ps.RMSNorm(-1)(v)),
    "Einsum(...)(x)": lambda v: in_frame(lambda: ps.Einsum("td,dh->th", [3, 4])(v)),
    "DenseGeneral(...)(x)": lambda v: in_frame(lambda: ps.DenseGeneral(4)(v)),
    "GatedMLP(...)(x)": lambda v: in_frame(lambda: ps.GatedMLP(4)(v)),
    "PReLU()(x)": lambda v: in_frame(lambda: ps.PReLU(param_axis=-1)(v)),
    "Scaler()(x)": lambda v: in_frame(lambda: ps.Scaler(True)(v)),
    "Residual(...)(x)": lambda v: in_frame(lambda: ps.Residual(ps.Linear(4))(v)),
    "Residual(layer)": lambda v: in_frame(lambda: ps.Residual(v)(X)),
    "Residual(layer returns)": lambda v: in_frame(lambda: ps.Residual(_returns(v))(X)),
    "Parallel(layers)": lambda v: in_frame(lambda: ps.Parallel(v)(X)),
    "Parallel(combine)": lambda v: in_frame(lambda: ps.Parallel([ps.Linear(4)], v)(X)),
    "ConvLocal1D(...)(x)": lambda v: in_frame(lambda: ps.ConvLocal1D(3, 2)(v)),
    "ConvLocal1D(kernel_shape)": lambda v: in_frame(lambda: ps.ConvLocal1D(3, v)(X)),
    "MixtureOfExperts(...)(x)": lambda v: in_frame(lambda: ps.MixtureOfExperts(2, 3)(v)),
    "MixtureOfExperts(mask)": lambda v: in_frame(lambda: ps.MixtureOfExperts(2, 3)(X, v)),
    "MixtureOfExperts(top_k)": lambda v: in_frame(lambda: ps.MixtureOfExperts(2, 3, top_k=v)(X)),
    "MixtureOfExperts(capacity_factor)": lambda v: in_frame(
        lambda: ps.MixtureOfExperts(2, 3, capacity_factor=v)(X)
    ),
    "ExponentialMovingAverage(...)(x)": lambda v: in_frame(
        lambda: ps.ExponentialMovingAverage(0.9)(v)
    ),
    "SpectralNorm()(x)": lambda v: in_frame(lambda: ps.SpectralNorm()(v)),
    "max_pool(x)": lambda v: ps.max_pool(v, (1, 1), (1, 1), "VALID"),
    "dropout(x)": lambda v: in_frame(lambda: ps.dropout(ps.next_rng_key(), 0.5, v)),
    "rotary_embedding(x)": lambda v: ps.rotary_embedding(v, np.arange(2)),
    "MultiHeadAttention(...)(query)": lambda v: in_frame(
        lambda: ps.MultiHeadAttention(1, 2, w_init=_ones)(v, X, X)
    ),
    "MultiHeadAttention(...)(key)": lambda v: in_frame(
        lambda: ps.MultiHeadAttention(1, 2, w_init=_ones)(X, v, X)
    ),
    "GroupedQueryAttention(...)(x)": lambda v: in_frame(lambda: ps.GroupedQueryAttention(2, 2)(v)),
    "GroupedQueryAttention(mask)": lambda v: in_frame(lambda: ps.GroupedQueryAttention(2, 2)(X, v)),
    "Conv1D(mask)": lambda v: in_frame(lambda: ps.Conv1D(3, 2, mask=v)(X)),
    "GRU(state)": lambda v: in_frame(lambda: ps.GRU(3)(X, v)),
    "Conv1DLSTM(state)": lambda v: in_frame(lambda: ps.Conv1DLSTM([2], 3, 2)(X, v)),
    "VanillaRNN(state)": lambda v: in_frame(lambda: ps.VanillaRNN(3)(X, v)),
    "static_unroll(x)": lambda v: in_frame(
        lambda: ps.static_unroll(ps.GRU(3), v, np.ones([3], np.float32))
    ),
    "dynamic_unroll(x)": lambda v: in_frame(
        lambda: ps.dynamic_unroll(ps.GRU(3), v, np.ones([3], np.float32))
    ),
    "VectorQuantizer(...)(x)": lambda v: in_frame(
        lambda: ps.nets.VectorQuantizer(3, 4, 0.25)(v, is_training=True)
    ),
    # lifted transforms
    "scan(f)": lambda v: in_frame(lambda: ps.scan(v, X, X)),
    "scan(f returns)": lambda v: in_frame(lambda: ps.scan(_returns(v), X, X)),
    "scan(init)": lambda v: in_frame(lambda: ps.scan(lambda c, x: (c, x), v, X)),
    "scan(xs)": lambda v: in_frame(lambda: ps.scan(lambda c, x: (c, x), X, v)),
    "scan(length)": lambda v: in_frame(lambda: ps.scan(lambda c, x: (c, x), X, None, v)),
    "scan(collections)": lambda v: in_frame(
        lambda: ps.scan(lambda c, x: (c, x), X, X, collections=v)
    ),
    "map(f)": lambda v: in_frame(lambda: ps.map(v, X)),
    "map(xs)": lambda v: in_frame(lambda: ps.map(_function, v)),
    "vmap(f)": lambda v: in_frame(lambda: ps.vmap(v, split_rng=False)(X)),
    "vmap(in_axes)": lambda v: in_frame(lambda: ps.vmap(_function, v, split_rng=False)(X)),
    "vmap(out_axes)": lambda v: in_frame(lambda: ps.vmap(_function, 0, v, split_rng=False)(X)),
    "vmap(axis_size)": lambda v: in_frame(
        lambda: ps.vmap(_function, axis_size=v, split_rng=False)(X)
    ),
    "vmap(split_rng)": lambda v: in_frame(lambda: ps.vmap(_function, split_rng=v)(X)),
    "vmap(collections)": lambda v: in_frame(
        lambda: ps.vmap(_function, split_rng=False, collections=v)(X)
    ),
    "vmap(...)(x)": lambda v: in_frame(lambda: ps.vmap(_function, split_rng=False)(v)),
    "cond(pred)": lambda v: in_frame(lambda: ps.cond(v, _function, lambda x: 2 * x, X)),
    "cond(branch)": lambda v: in_frame(lambda: ps.cond(True, v, _function, X)),
    "cond(operand)": lambda v: in_frame(lambda: ps.cond(True, _function, lambda x: x, v)),
    "switch(index)": lambda v: in_frame(lambda: ps.switch(v, [_function, lambda x: 2 * x], X)),
    "switch(branches)": lambda v: in_frame(lambda: ps.switch(0, v, X)),
    "fori_loop(lower)": lambda v: in_frame(lambda: ps.fori_loop(v, 3, lambda i, x: x, X)),
    "fori_loop(upper)": lambda v: in_frame(lambda: ps.fori_loop(0, v, lambda i, x: x, X)),
    "fori_loop(f)": lambda v: in_frame(lambda: ps.fori_loop(0, 2, v, X)),
    "while_loop(f)": lambda v: ps.transform(
        lambda: ps.while_loop(lambda x: x.sum() > 9, v, X)
    ).apply({}, None),
    "while_loop(cond)": lambda v: ps.transform(lambda: ps.while_loop(v, _function, X)).apply(
        {}, None
    ),
    "remat(f)": lambda v: in_frame(lambda: ps.remat(v)(X)),
    "remat(...)(x)": lambda v: in_frame(lambda: ps.remat(_function)(v)),
    "jit(f)": lambda v: in_frame(lambda: ps.jit(v)(X)),
    "jit(...)(x)": lambda v: in_frame(lambda: ps.jit(_function)(v)),
    "grad(f)": lambda v: in_frame(lambda: ps.grad(v)(X)),
    "grad(argnums)": lambda v: in_frame(lambda: ps.grad(lambda x: x.sum(), v)(jnp.asarray(X))),
    "grad(...)(x)": lambda v: in_frame(lambda: ps.grad(lambda x: x.sum())(v)),
    "eval_shape(f)": lambda v: in_frame(lambda: ps.eval_shape(v, X)),
    "layer_stack(num_layers)": lambda v: in_frame(
        lambda: ps.layer_stack(v)(lambda x: ps.Linear(3)(x))(X)
    ),
    "layer_stack(f)": lambda v: in_frame(lambda: ps.layer_stack(2)(v)(X)),
    "layer_stack(...)(x)": lambda v: in_frame(lambda: ps.layer_stack(2)(lambda x: x)(v)),
    "purify(f)": lambda v: in_frame(lambda: ps.purify(v)),
    "lift(f)": lambda v: in_frame(lambda: ps.lift(v, name="inner")(KEY, X)),
    "lift(f returns)": lambda v: in_frame(lambda: ps.lift(_returns(v), name="inner")(KEY, X)),
    # trees
    "data_structures.filter(tree)": lambda v: ps.data_structures.filter(_yes, v),
    "data_structures.filter(f)": lambda v: ps.data_structures.filter(v, _BUNDLE),
    "data_structures.map(tree)": lambda v: ps.data_structures.map(lambda m, n, x: x, v),
    "data_structures.map(f)": lambda v: ps.data_structures.map(v, _BUNDLE),
    "data_structures.merge(tree)": lambda v: ps.data_structures.merge(_BUNDLE, v),
    "data_structures.partition(tree)": lambda v: ps.data_structures.partition(_yes, v),
    "data_structures.partition_n(n)": lambda v: ps.data_structures.partition_n(
        lambda *_: 0, _BUNDLE, v
    ),
    "data_structures.partition_n(f returns)": lambda v: ps.data_structures.partition_n(
        _returns(v), _BUNDLE, 2
    ),
    "data_structures.is_subset(tree)": lambda v: ps.data_structures.is_subset(
        subset=v, superset=_BUNDLE
    ),
    "data_structures.is_subset(superset)": lambda v: ps.data_structures.is_subset(
        subset=_BUNDLE, superset=v
    ),
    "data_structures.pop(tree)": lambda v: ps.data_structures.pop(v, "params"),
    "data_structures.pop(name)": lambda v: ps.data_structures.pop({"params": {}}, v),
    "data_structures.to_haiku_dict(tree)": lambda v: ps.data_structures.to_haiku_dict(v),
    "data_structures.to_immutable_dict(tree)": lambda v: ps.data_structures.to_immutable_dict(v),
    "data_structures.to_mutable_dict(tree)": lambda v: ps.data_structures.to_mutable_dict(v),
    "data_structures.traverse(tree)": lambda v: list(ps.data_structures.traverse(v)),
    "data_structures.tree_size(tree)": lambda v: ps.data_structures.tree_size(v),
    "data_structures.tree_bytes(tree)": lambda v: ps.data_structures.tree_bytes(v),
    "surgery.filter(f)": lambda v: ps.surgery.filter(_BUNDLE, v),
    "surgery.partition(f)": lambda v: ps.surgery.partition(_BUNDLE, v),
    "surgery.combine(tree)": lambda v: ps.surgery.combine(_BUNDLE, v),
    "surgery.rename(tree)": lambda v: ps.surgery.rename(v, "a", "c"),
    "surgery.rename(old)": lambda v: ps.surgery.rename(_BUNDLE, v, "c"),
    "surgery.rename(new)": lambda v: ps.surgery.rename(_BUNDLE, "a", v),
    "surgery.insert(tree)": lambda v: ps.surgery.insert(v, "c/w", X),
    "surgery.insert(path)": lambda v: ps.surgery.insert(_BUNDLE, v, X),
    "surgery.delete(tree)": lambda v: ps.surgery.delete(v, "a/w"),
    "surgery.delete(path)": lambda v: ps.surgery.delete(_BUNDLE, v),
    "surgery.at(path)": lambda v: ps.surgery.at(_BUNDLE, v).get(),
    "surgery.at(...).set(value)": lambda v: ps.surgery.at(_BUNDLE, "a/w").set(v),
    "surgery.glob(pattern)": lambda v: ps.surgery.filter_with_path(_BUNDLE, ps.surgery.glob(v)),
    "surgery.regex(pattern)": lambda v: ps.surgery.filter_with_path(_BUNDLE, ps.surgery.regex(v)),
    "surgery.has_dtype(dtype)": lambda v: ps.surgery.filter_with_path(
        _BUNDLE, ps.surgery.has_dtype(v)
    ),
    "surgery.has_ndim(n)": lambda v: ps.surgery.filter_with_path(_BUNDLE, ps.surgery.has_ndim(v)),
    "surgery.larger_than(size)": lambda v: ps.surgery.filter_with_path(
        _BUNDLE, ps.surgery.larger_than(v)
    ),
    "surgery.transplant(new)": lambda v: ps.surgery.transplant(v, _BUNDLE),
    "surgery.transplant(old)": lambda v: ps.surgery.transplant(_BUNDLE, v),
    "stack_layers(tree)": lambda v: ps.stack_layers(v),
    "unstack_layers(tree)": lambda v: ps.unstack_layers(v),
    "bind(f)": lambda v: ps.bind(v, {}),
    "bind(params)": lambda v: ps.bind(ps.transform(lambda x: ps.Linear(3)(x)), v)(X),
    "freeze(predicate)": lambda v: in_frame(lambda: _enter(ps.freeze(v))),
    "specs(f)": lambda v: ps.specs(v)(KEY),
    "config.set(rng_reserve_size)": lambda v: _set_and_back("rng_reserve_size", v),
    "config.set(leaks)": lambda v: _set_and_back("leaks", v),
    "config.set(check_jax_usage)": lambda v: _set_and_back("check_jax_usage", v),
}


def _set_within(context: Any) -> None:
    with context:
        ps.set_state("s", jnp.ones([3]))


def _set_and_back(name: str, value: Any) -> None:
    with ps.config.context(**{name: value}):
        ps.transform(lambda: ps.next_rng_key()).init(KEY)


# The mean of no rows is 0 / 0, which is NaN, as in numpy and dm-haiku: arithmetic, and no error.
LEFT_OUT = {
    ("init(x)", "no rows"),
    ("apply(x)", "no rows"),
    ("BatchNorm(...)(x)", "no rows"),
    ("VectorQuantizer(...)(x)", "no rows"),
    # So is a matrix of zeros over its largest singular value.
    ("SpectralNorm()(x)", "array of rank 4"),
    # These are functions, or can be called like one, but take another number of arguments: Python or JAX says so.
    *(
        (f"data_structures.{call}(f)", value)
        for call in ("filter", "map")
        for value in ("class", "compiled function", "dtype")
    ),
}

_OURS = ps.__file__.removesuffix("__init__.py")
_LIBRARIES = {"jax", "jaxlib", "numpy", *sys.stdlib_module_names}


def outcome_of(call: str, value: str) -> str:
    """Returns what becomes of a value in a place."""
    given = VALUES[value]()
    try:
        out = CALLS[call](given)
    except ps.errors.PurestateError:
        kind = "ours"
    except Exception as error:
        kind = _kind_of_error(error)
    else:
        kind = _kind_of_result(out, given)
    if inside_transform():
        return "wrong: a frame is left active"
    return kind


def _kind_of_error(error: Exception) -> str:
    if str(error) == "no shape" or "Array has been deleted" in str(error):
        return "user"  # the value's own
    frames = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES
    ]
    last = frames[-1].f_code
    if last.co_filename.startswith(_OURS):
        told = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:90]}"
        return f"wrong: {told} ({last.co_filename.removeprefix(_OURS)}, {last.co_qualname})"
    return "user"


def _kind_of_result(out: Any, given: Any) -> str:
    try:
        leaves = jax.tree.leaves(out)
    except ValueError:  # keys that cannot be sorted, as they were given
        return "ok"
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return "wrong: a dead tracer"
    if not _finite(given):
        return "ok"
    if not all(_finite(leaf) for leaf in leaves):
        return "wrong: not finite"
    return "ok"


def _finite(tree: Any) -> bool:
    try:
        leaves = jax.tree.leaves(tree)
    except ValueError:
        return True
    for leaf in leaves:
        if isinstance(leaf, (np.ndarray, jax.Array, np.generic, float)) and not isinstance(
            leaf, jax.core.Tracer
        ):
            try:
                if not np.isfinite(np.asarray(leaf, np.complex64)).all():
                    return False
            except (TypeError, ValueError, RuntimeError):
                continue
    return True
