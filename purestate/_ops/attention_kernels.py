"""Kernels for attention by name, and what computes in their place if they cannot."""

import abc
import importlib
import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from purestate._core.errors import MissingPackageError, kind_of
from purestate._ops.attention_arithmetic import AttentionCall, all_masks, with_one_batch
from purestate._ops.errors import AttentionFallbackWarning, OperationError
from purestate._ops.interception import OpContext

NAMES = ("xla", "cudnn", "pallas", "tokamax")
_HIDDEN = -0.7 * float(jnp.finfo(jnp.float32).max)


def is_implementation(value: Any) -> bool:
    """Whether attention can be computed by `value`: None, a name, or a function."""
    if value is None or isinstance(value, (str, Kernel)):
        return not isinstance(value, str) or value in NAMES
    return callable(value) and not isinstance(value, type)


def how_to_say(value: Any) -> str:
    """What an error says of something that is not an implementation."""
    given = repr(value) if isinstance(value, str) else kind_of(value)
    return (
        f"implementation takes None, one of {', '.join(map(repr, NAMES))}, or a function (query,"
        f" key, value, bias, mask, *, scale, is_causal); got {given}."
    )


def attend_by(call: AttentionCall, by_products: Callable[[AttentionCall], Any]) -> Any:
    """Computes attention by a kernel or a function; by XLA's products if the kernel cannot."""
    implementation = call.implementation
    if not is_implementation(implementation):
        raise OperationError(f"dot_product_attention: {how_to_say(implementation)}")
    shape = (*call.query.shape[:-1], call.value.shape[-1])
    kernel = _KERNELS[implementation] if isinstance(implementation, str) else implementation
    if not isinstance(kernel, Kernel):
        return _by_function(kernel, with_one_batch(call), shape)
    reason = kernel.why_not(call)
    if reason is None:
        try:
            return kernel.run(with_one_batch(call)).reshape(shape)
        except (NotImplementedError, RuntimeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"dot_product_attention: {kernel.name} cannot compute this call, and XLA does it instead."
        f" The reason: {reason}",
        AttentionFallbackWarning,
        stacklevel=2,
    )
    return by_products(call)


def _by_function(f: Callable[..., Any], call: AttentionCall, shape: tuple[int, ...]) -> Any:
    """Computes attention by a user's function, which gets the options that are set."""
    options: dict[str, Any] = {"scale": call.factor, "is_causal": call.is_causal}
    if call.drops:
        options |= {"dropout_key": call.dropout_key, "dropout_rate": call.dropout_rate}
    for name in ("window", "logits_soft_cap", "softmax_dtype"):
        if getattr(call, name) is not None:
            options[name] = getattr(call, name)
    name = f"`{getattr(f, '__name__', type(f).__name__)}`"
    operands = (call.query, call.key, call.value, call.bias, call.mask)
    problem = _cannot_bind(f, operands, options)
    if problem is not None:
        raise OperationError(
            f"dot_product_attention: the implementation {name} cannot be called with (query, key,"
            f" value, bias, mask, {', '.join(f'{option}=...' for option in options)}): {problem}."
            " Have it take these, or leave the option out of the layer."
        )
    out = f(*operands, **options)
    expected = (*call.query.shape[:-1], call.value.shape[-1])
    if getattr(out, "shape", None) != expected:
        got = f"shape {out.shape}" if hasattr(out, "shape") else kind_of(out)
        raise OperationError(
            f"dot_product_attention: the implementation {name} returned {got}. Have it return"
            f" [B, T, H, V], here {expected}."
        )
    return out.reshape(shape)


def _cannot_bind(f: Callable[..., Any], args: Any, options: Any) -> str | None:
    """Why a function does not take some arguments; None if it does, or if nobody can tell."""
    try:
        signature = inspect.signature(f)
    except ValueError:
        return None
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        return str(error)
    return None


class Kernel(abc.ABC):
    """A kernel that supports some calls."""

    name: str

    @abc.abstractmethod
    def why_not(self, call: AttentionCall) -> str | None:
        """Returns why the kernel does not support a call; None if it does."""

    @abc.abstractmethod
    def run(self, call: AttentionCall) -> Any:
        """Computes it; leading axes are one."""


def platform() -> str:
    """The platform that JAX computes on by default: "cpu", "gpu" or "tpu"."""
    config: Any = jax.config
    default = config.jax_default_device
    found = default if isinstance(default, str) else getattr(default, "platform", None)
    found = found or jax.default_backend()
    return "gpu" if found in ("cuda", "rocm") else found


def _why_no_option(call: AttentionCall, *options: str) -> str | None:
    """Why not, for a kernel without some options."""
    if call.drops:
        return "it has no dropout."
    for name in options:
        if getattr(call, name) is not None:
            return f"it has no {name}."
    return None


class _Cudnn(Kernel):
    name = "cuDNN's flash attention"

    def why_not(self, call: AttentionCall) -> str | None:
        if platform() != "gpu":
            return f"it needs a GPU, and the platform is {platform()!r}."
        if call.query.dtype not in (jnp.bfloat16, jnp.float16):
            return f"it computes in bfloat16 or float16, and the query is {call.query.dtype}."
        if call.value.shape[-1] != call.query.shape[-1]:
            return "it needs values of the size of the keys."
        if call.window is not None and not call.is_causal:
            return "it needs is_causal with a window."
        return _why_no_option(call, "logits_soft_cap", "softmax_dtype")

    def run(self, call: AttentionCall) -> Any:
        return jax.nn.dot_product_attention(
            call.query,
            call.key,
            call.value,
            call.bias,
            call.mask,
            scale=call.factor,
            is_causal=call.is_causal,
            local_window_size=call.sides,
            implementation="cudnn",
        )


class _Tokamax(Kernel):
    name = "tokamax"

    def why_not(self, call: AttentionCall) -> str | None:
        if call.bias is not None and call.logits_soft_cap is not None:
            return "it adds the bias before the cap and not after it."
        return _why_no_option(call, "softmax_dtype")

    def run(self, call: AttentionCall) -> Any:
        try:
            tokamax: Any = importlib.import_module("tokamax")
        except ImportError:
            raise MissingPackageError(
                'implementation="tokamax" needs the package tokamax, which is not installed: `pip'
                " install purestate[tokamax]`."
            ) from None
        return tokamax.dot_product_attention(
            call.query,
            call.key,
            call.value,
            call.bias,
            call.mask,
            scale=call.factor,
            is_causal=call.is_causal,
            local_window_size=call.sides,
            logits_soft_cap=call.logits_soft_cap,
        )


@dataclass(frozen=True)
class PallasAttention(Kernel):
    """JAX's flash attention in Pallas, as the `implementation` of an attention.

    Dao 2023, arXiv:2307.08691. `implementation="pallas"` is short for `PallasAttention()`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = jnp.ones([1, 16, 2, 8])
    >>> flash = ps.ops.PallasAttention("gpu", interpret=True)
    >>> ps.ops.dot_product_attention(x, x, x, is_causal=True, implementation=flash).shape
    (1, 16, 2, 8)

    The kernel for GPUs has no mask and no bias. The kernel for TPUs takes both as one array
    `[B, H, T, S]`, so that it saves less memory. Fewer heads of keys than of queries are repeated.

    Args:
      kernel: "gpu" or "tpu"; None for that of the platform.
      interpret: whether to run the kernel for GPUs without one, slowly, to test. For the kernel for
        TPUs use JAX's own `pltpu.force_tpu_interpret_mode()`, with this option too.
      block_size: how many queries and keys a block has at most; for TPUs always 128.
    """

    kernel: Literal["gpu", "tpu"] | None = None
    interpret: bool = False
    block_size: int = 128

    name = "Pallas's flash attention"

    def why_not(self, call: AttentionCall) -> str | None:
        """Returns why the kernel does not support a call; None if it does."""
        wanted = self.kernel or platform()
        if wanted not in ("gpu", "tpu"):
            return f"it needs a GPU or a TPU, and the platform is {wanted!r}."
        if wanted != platform() and not self.interpret:
            return f"its kernel is for {wanted!r}, and the platform is {platform()!r}."
        *_, length, _, size = call.query.shape
        keys = call.key.shape[-3]
        if call.value.shape[-1] != size or call.key.shape[-1] != size:
            return "it needs values of the size of the keys."
        if call.is_causal and length != keys:
            return f"with is_causal it needs as many keys as queries, not {keys} and {length}."
        if len({x.dtype for x in (call.query, call.key, call.value)}) > 1:
            return "it needs query, key and value of one dtype."
        return (self._why_no_gpu if wanted == "gpu" else self._why_no_tpu)(call, length, keys)

    def _why_no_gpu(self, call: AttentionCall, length: int, keys: int) -> str | None:
        if call.mask is not None or call.bias is not None:
            return "on a GPU it has no mask and no bias, only is_causal."
        blocks = self._block(length), self._block(keys)
        if min(blocks) < 16:
            return f"it splits lengths into blocks of at least 16, and they are {length}, {keys}."
        if length // blocks[0] != keys // blocks[1]:
            return f"it needs as many blocks of keys as of queries; lengths are {length}, {keys}."
        return _why_no_option(call, "window", "logits_soft_cap", "softmax_dtype")

    def _why_no_tpu(self, call: AttentionCall, length: int, keys: int) -> str | None:
        size = call.query.shape[-1]
        if length % 128 or keys % 128:
            return f"on a TPU it needs lengths divisible by 128, not {length} and {keys}."
        if size > 128 and size % 128:
            return f"on a TPU it needs a size of a head below 128 or divisible by it, not {size}."
        return _why_no_option(call, "logits_soft_cap", "softmax_dtype")

    def _block(self, length: int) -> int:
        """The largest power of two that divides a length, and is not too large."""
        return min(math.gcd(length, 1 << 30), self.block_size)

    def run(self, call: AttentionCall) -> Any:
        """Computes it; leading axes are one."""
        repeats = call.query.shape[-2] // call.key.shape[-2]
        if repeats > 1:
            call = call._replace(
                key=jnp.repeat(call.key, repeats, -2), value=jnp.repeat(call.value, repeats, -2)
            )
        return self._on_gpu(call) if (self.kernel or platform()) == "gpu" else self._on_tpu(call)

    def _on_gpu(self, call: AttentionCall) -> Any:
        with warnings.catch_warnings():  # JAX 0.12 recommends tokamax, which is another choice here
            warnings.simplefilter("ignore", DeprecationWarning)
            attention: Any = importlib.import_module("jax.experimental.pallas.ops.gpu.attention")
        queries, keys = self._block(call.query.shape[1]), self._block(call.key.shape[1])
        # The backward pass keeps more in fast memory, so its blocks are smaller; there are as many
        # of keys as of queries.
        small = max(1, max(queries, keys) // 32)
        blocks = attention.BlockSizes(
            block_q=queries,
            block_k=keys,
            block_q_dkv=max(16, queries // small),
            block_kv_dkv=max(16, keys // small),
            block_q_dq=max(16, queries // small),
            block_kv_dq=max(16, keys // small),
        )
        return attention.mha(
            call.query,
            call.key,
            call.value,
            None,
            call.factor,
            call.is_causal,
            blocks,
            interpret=self.interpret,
        )

    def _on_tpu(self, call: AttentionCall) -> Any:
        flash: Any = importlib.import_module("jax.experimental.pallas.ops.tpu.flash_attention")
        query, key, value = (jnp.swapaxes(x, 1, 2) for x in call[:3])
        shape = (*query.shape[:3], key.shape[2])
        bias = None if call.bias is None else jnp.broadcast_to(call.bias, shape)
        window = call.window is not None
        mask = all_masks(call.mask, call.is_causal and window, call.window, shape)
        if mask is not None:
            bias = jnp.zeros(shape, jnp.float32) if bias is None else bias.astype(jnp.float32)
            bias = jnp.where(mask, bias, _HIDDEN / 2)
        out = flash.flash_attention(
            query, key, value, bias, causal=call.is_causal, sm_scale=call.factor
        )
        return lax.transpose(out, (0, 2, 1, 3))


_KERNELS: dict[str, Kernel] = {
    "cudnn": _Cudnn(),
    "pallas": PallasAttention(),
    "tokamax": _Tokamax(),
}


@dataclass(frozen=True)
class _AttentionImplementation:
    """An interceptor; two equal ones are one to JAX, so that nothing is traced again."""

    implementation: Any
    when: Callable[[OpContext], bool] | None

    def __call__(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext, /
    ) -> Any:
        is_free = (
            context.op == "dot_product_attention" and context.options["implementation"] is None
        )
        if is_free and (self.when is None or self.when(context)):
            return next_op(*operands, implementation=self.implementation)
        return next_op(*operands)


def attention_implementation(
    implementation: Any, when: Callable[[OpContext], bool] | None = None
) -> Any:
    """Returns an interceptor of operations that has every attention computed in another way.

    Layers with an `implementation` of their own keep it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def plain(query, key, value, bias, mask, *, scale, is_causal):
    ...     print("plain", query.shape)
    ...     weights = jax.nn.softmax(scale * jnp.einsum("bthk,bshk->bhts", query, key))
    ...     return jnp.einsum("bhts,bshk->bthk", weights, value)
    >>> f = ps.transform(lambda x: ps.GroupedQueryAttention(2, 4)(x))
    >>> x = jnp.ones([1, 3, 8])
    >>> params = f.init(jax.random.key(0), x)
    >>> with ps.intercept_ops(ps.ops.attention_implementation(plain)):
    ...     out = f.apply(params, None, x)
    plain (1, 3, 2, 4)

    Args:
      implementation: a name or a function; see `dot_product_attention`.
      when: `when(context)` says for an `OpContext` whether to, by its `path` for example; None for
        all.

    Returns:
      An interceptor for `ps.intercept_ops`.

    Raises:
      OperationError: `implementation` is neither.
    """
    if implementation is None or not is_implementation(implementation):
        raise OperationError(f"attention_implementation: {how_to_say(implementation)}")
    return _AttentionImplementation(implementation, when)
