"""LoRA: training a few parameters beside those of a network that is kept as it is."""

import contextvars
import math
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from purestate._core.errors import kind_of
from purestate._core.frame import ambient, full_path
from purestate._core.hooks import OPERATION, ActiveHooks, GetterContext, Hook
from purestate._core.trace_guard import warn_user
from purestate._core.variables import Initializer
from purestate._editing.lora_names import is_adapter_name, parse_lora_name
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import ConvND
from purestate._layers.conv_transpose import ConvNDTranspose
from purestate._layers.embed import Embed
from purestate._layers.errors import LayerError, LoraWarning, check_bool
from purestate._layers.group_norm import GroupNorm
from purestate._layers.layer_norm import LayerNorm
from purestate._layers.linear import Bias, Linear
from purestate._layers.lora_operations import OPERATIONS
from purestate._layers.lora_settings import Settings, lora_scale
from purestate._layers.low_rank import Split, split_of_kernel
from purestate._layers.recurrent.gru import GRU
from purestate._layers.recurrent.trainable_initial_state import TrainableInitialState
from purestate._layers.rms_norm import RMSNorm
from purestate._layers.weight_norm import WeightNorm

# Modules whose parameters may have several axes, and yet are not weights.
_WITHOUT_WEIGHTS = (
    BatchNorm,
    Bias,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    TrainableInitialState,
    WeightNorm,
)
_NOT_WEIGHTS = ("b", "bias", "scale", "offset")

_Place = tuple[str, str]  # the path of a module and the name of a parameter

_being_adapted: contextvars.ContextVar[frozenset[tuple[Any, ...]]] = contextvars.ContextVar(
    "being adapted", default=frozenset()
)


def _may_be_adapted(module: Any, name: str, shape: Sequence[int]) -> bool:
    """Whether a parameter may be a matrix, a kernel or a table."""
    return (
        len(shape) > 1
        and name not in _NOT_WEIGHTS
        and parse_lora_name(name) is None
        and not isinstance(module, _WITHOUT_WEIGHTS)
    )


def _split_at_read(module: Any, name: str, shape: tuple[int, ...]) -> Split | None:
    """Returns the split of a weight that no operation sees as it is; None for all others."""
    last = len(shape) - 1
    first = tuple(range(last))
    if name in getattr(module, "lora_at_read", ()):
        return Split(shape, first, (last,), (last,), math.prod(shape[:last]))
    if isinstance(module, GRU) and name == "w_h" and not module.reset_after:
        return Split(shape, first, (last,), (last,), shape[0])  # multiplied in two parts
    if isinstance(module, Embed) and name == "embeddings":
        scope = ambient.get()[0][-1].scope
        if scope.outer is None or scope.outer.module is not module:  # someone else uses it
            return Split(shape, first, (last,), (last,), 1)
    if isinstance(module, (ConvND, ConvNDTranspose)) and module.mask is not None and name == "w":
        return split_of_kernel(shape, last - isinstance(module, ConvNDTranspose))
    return None


class _LoraBlock(ActiveHooks):
    """A `with ps.lora(...)` block; at its end it warns of the weights that it could not adapt."""

    def __init__(self, settings: Settings, predicate: Callable[[Any], bool] | None, key: Any):
        super().__init__(
            Hook(OPERATION, self._around_operation, key),
            Hook(("get", "params"), self._around_read, key),
        )
        self._settings = settings
        self._predicate = predicate
        self._reads: Counter[_Place] = Counter()
        self._adapted: Counter[_Place] = Counter()
        self._labels: dict[str, str] = {}  # what to call the owner of a weight, by its path

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        left = {
            path
            for (path, name), n in self._reads.items()
            if n > self._adapted[path, name]
            # The length that weight_norm gave a weight.
            and not (name.endswith("_g") and (path, name[:-2]) in self._reads)
        }
        passed_over = [label for path, label in self._labels.items() if path in left]
        for seen in (self._reads, self._adapted, self._labels):
            seen.clear()
        if passed_over and exc_info[0] is None:
            warn_user(
                f"`ps.lora` passed over {', '.join(passed_over)}: some of their weights, or some"
                " uses of them, do not go into an operation that it knows, and stay as they are. In"
                " a layer of your own write ps.ops.dot_general(x, w) in place of x @ w, or give its"
                ' class the attribute lora_at_read = ("w",). If it is right so, leave them out:'
                " ps.lora(rank, predicate=lambda layer: isinstance(layer, ps.Linear)).",
                LoraWarning,
            )

    def _is_requested(self, module: Any) -> bool:
        try:
            return self._predicate is None or bool(self._predicate(module))
        except (AttributeError, TypeError):  # it asks for what only Linear layers have
            if isinstance(module, Linear):
                raise
            return False

    @contextmanager
    def _claimed(self, module: Any, path: str, name: str) -> Generator[None]:
        """Raises if another block adapts this weight with parameters of the same names."""
        mine = {(path, name, adapter) for adapter in self._settings.adapters}
        before = _being_adapted.get()
        if before & mine:
            kind = "parameter" if module is None else type(module).__name__
            raise LayerError(
                f"lora: {kind} {path!r} is in two `with ps.lora(...)` blocks, which would share"
                " lora_a and lora_b; give each a predicate that leaves it to the other, or an"
                ' adapter of its own: ps.lora(rank, adapter="french").'
            )
        token = _being_adapted.set(before | mine)
        try:
            yield
        finally:
            _being_adapted.reset(token)

    def _around_read(
        self, next_getter: Callable[[Any], Any], value: Any, context: GetterContext
    ) -> Any:
        module, name = context.module, context.name
        path = full_path(ambient.get()[0], context.module_name)
        shape = tuple(context.original_shape)
        if not _may_be_adapted(module, name, shape) or not self._is_requested(module):
            return next_getter(value)
        split = _split_at_read(module, name, shape)
        if split is None:
            if sum(size != 1 for size in shape) > 1:
                self._reads[path, name] += 1
                self._labels[path] = (
                    f"parameter {name!r} outside of any module"
                    if module is None
                    else f"{type(module).__name__} {path!r}"
                )
            return next_getter(value)
        with self._claimed(module, path, name):
            value = jnp.asarray(next_getter(value))
        settings = self._settings
        settings.check_examples(f"{type(module).__name__} {path!r}", None)
        factors = settings.factors(name, split, value, value.dtype)
        return settings.select(lambda w: w, split, value, factors, 0)

    def _around_operation(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: Any
    ) -> Any:
        module, path = context.module, context.path
        names = [
            name
            for name, position in context.params.items()
            if "/" not in name and _may_be_adapted(module, name, operands[position].shape)
        ]
        adapt = OPERATIONS.get(context.op)
        if not names or adapt is None or not self._is_requested(module):
            return next_op(*operands)
        name = names[-1]
        with self._claimed(module, path, name):
            out = adapt(self._settings, next_op, operands, context, name)
        if out is None:
            return next_op(*operands)
        self._adapted[path, name] += 1
        return out


def lora(
    rank: int,
    predicate: Callable[[Any], bool] | None = None,
    alpha: float | None = None,
    *,
    a_init: Initializer | None = None,
    param_dtype: DTypeLike | None = None,
    dora: bool = False,
    rank_stabilized: bool = False,
    adapter: str | Sequence[str] | None = None,
    which: ArrayLike | None = None,
) -> AbstractContextManager[None]:
    """Adds a product of two narrow factors to each weight that is used in the block.

    A layer computes with `w + lora_a @ lora_b * alpha / rank`. `lora_b` is zero at first, so that
    nothing changes, and the layer's own parameters have the names and values that they have
    without. Train only these two, then `merge_lora` them. Hu et al. 2021, arXiv:2106.09685.

    It adapts each weight that goes into an operation of `ps.ops`, also in a layer of your own:
    linear layers, those of attention and recurrent cores, convolutions and embeddings. `lora_a` has
    the first axes of the weight and `lora_b` the last: `[inputs, rank]` and `[rank, outputs]` for
    Linear, `[*kernel, inputs, rank]` and `[rank, outputs]` for a convolution. A weight of another
    name than `w` puts it in front, as in `embeddings_lora_a`. At the end of the block a
    `LoraWarning` names the modules with a weight that was passed over. A class whose weights are
    used in another way can name them, `lora_at_read = ("table",)`: these are adapted when they are
    read.

    The block may also be outside a transformed function, around `init` and `apply`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     with ps.lora(rank=2):
    ...         return ps.Linear(4)(x)
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (4,), 'lora_a': (3, 2), 'lora_b': (2, 4), 'w': (3, 4)}}

    Args:
      rank: how narrow the factors are.
      predicate: says for a module whether it is adapted: `lambda layer: layer.name == "query"`, or
        by its `module_name`; None for all.
      alpha: how much of it is added; None for the factor 1.
      a_init: the initializer of `lora_a`; None for a truncated normal of stddev `1 / sqrt(inputs)`,
        and of stddev 1 for an embedding.
      param_dtype: the dtype of the factors; None for that of the input.
      dora: whether each output also has a magnitude `lora_m`, the length of its weights. Liu et al.
        2024, arXiv:2402.09353.
      rank_stabilized: whether the factor is `alpha / sqrt(rank)`. Kalajdzievski 2023,
        arXiv:2312.03732.
      adapter: a name that the parameters have in theirs, `lora_french_a`, so that there can be
        several; or the names of those among which `which` chooses.
      which: the index of the adapter in use, or `[B]` for one per example of axis 0; -1 for none.

    Returns:
      A context manager.

    Raises:
      LayerError: an option has no meaning, or a layer is adapted twice, or has another number of
        examples than `which`.
    """
    if rank < 1:
        raise LayerError(f"lora: rank must be at least 1, got {rank}.")
    for argument, value in (("dora", dora), ("rank_stabilized", rank_stabilized)):
        check_bool("ps.lora", argument, value)
    scale = lora_scale("lora", alpha, rank, rank_stabilized)
    adapters = _names(adapter)
    if (which is None) != (adapter is None or isinstance(adapter, str)):
        raise LayerError(
            f"lora: `which` chooses among several adapters, but adapter={adapter!r} and"
            f" which={'None' if which is None else f'of {kind_of(which)}'} are given. Pass both:"
            ' ps.lora(rank, adapter=["french", "german"], which=indices).'
        )
    index = None if which is None else jnp.asarray(which)
    if index is not None and (index.ndim > 1 or not jnp.issubdtype(index.dtype, jnp.integer)):
        raise LayerError(
            f"lora: `which` is the index of an adapter, or one for each example, [B]; got"
            f" {index.dtype} of shape {index.shape}."
        )
    settings = Settings(rank, scale, a_init, param_dtype, dora, adapters, index)
    # An index may be traced: a program compiled for one block is for no other, and keeps no tracer.
    chosen = None if index is None else object()
    key = ("lora", rank, predicate, scale, a_init, param_dtype, dora, adapters, chosen)
    return _LoraBlock(settings, predicate, key)


def _names(adapter: Any) -> tuple[str | None, ...]:
    names = (adapter,) if adapter is None or isinstance(adapter, str) else tuple(adapter)
    for name in names:
        if name is not None and not is_adapter_name(name):
            raise LayerError(
                f"lora: the name of an adapter is a part of the names of parameters: a Python"
                f" identifier without 'lora', such as 'french'; got {name!r}."
            )
    if not names or len(set(names)) < len(names):
        raise LayerError(f"lora: each of the adapters needs a name of its own; got {adapter!r}.")
    return names
