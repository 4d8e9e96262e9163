"""The hooks by which rules act on the modules of a run."""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.creation import lift_prefix
from purestate._core.frame import ambient, full_path, get_frame
from purestate._core.hooks import CALL, OPERATION, ActiveHooks, GetterContext, Hook, MethodContext
from purestate._core.parameters_read import note_stored, stored_form
from purestate._editing.lora_names import parse_lora_name
from purestate._layers.lora import lora
from purestate._lifted.remat import remat
from purestate._ops.attention_kernels import attention_implementation, is_implementation
from purestate._ops.interception import OpContext
from purestate._precision.casting import call_with_policy, current_policy
from purestate._precision.policy import Policy
from purestate._quantize.array import QuantizedArray
from purestate._quantize.fp8 import Fp8Training
from purestate._quantize.products import PRODUCTS
from purestate._quantize.serving import Serving
from purestate._quantize.weights import is_weight, weights
from purestate._rules.rule import Rule
from purestate._rules.rule_book import RuleBook


def _path_of(module: Any) -> str | None:
    """The path of a module as the outermost frame knows it; None before it has one."""
    path = None if module is None else module._path
    return None if path is None else full_path(ambient.get()[0], path)


class RulesInForce(AbstractContextManager[None]):
    """Has rules act on the modules that run in a `with` block, inside a transformed function."""

    def __init__(self, book: RuleBook):
        self._book = book
        self._computed_again: list[str] = []
        self._policies: dict[int, Policy] = {}
        self._stack = ExitStack()

    def __enter__(self) -> None:
        book = self._book
        hooks = [Hook(CALL, self._call)]
        kinds = {kind.partition(" ")[0] for kind in book.kinds}
        if kinds & {"axes", "freeze", "quantize"}:
            hooks.append(Hook(("get", "params"), self._read))
        if kinds & {"fp8_training", "ops", "out_sharding", "quantize"}:
            hooks.append(Hook(OPERATION, self._operate))
        seen: list[Rule] = []
        for several in book.rules.values():
            for rule in several:
                if rule.kind == "lora" and rule not in seen:
                    seen.append(rule)
                    self._stack.enter_context(lora(predicate=self._has(rule), **rule.options))
        self._stack.enter_context(ActiveHooks(*hooks))

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.__exit__(*exc_info)

    def _has(self, rule: Rule) -> Callable[[Any], bool]:
        def has(module: Any) -> bool:
            path = _path_of(module)
            found = None if path is None else self._book.found(rule.kind, path)
            return found is not None and found.value == rule

        return has

    def _call(
        self, next_method: Callable[..., Any], args: Any, kwargs: Any, context: MethodContext
    ) -> Any:
        path = _path_of(context.module)
        if path is None:  # in `__init__`, before the module has a name
            return next_method(*args, **kwargs)
        if context.method_name == "__call__":
            self._book.visited.setdefault(path, type(context.module))
        found = self._book.found("precision", path)
        if found is not None:
            policy = self._policy(found.value)
            if current_policy() is not policy:
                return call_with_policy(
                    policy, self._next(next_method, context, path), args, kwargs
                )
        return self._next(next_method, context, path)(*args, **kwargs)

    def _policy(self, rule: Rule) -> Policy:
        if id(rule) not in self._policies:
            options = rule.options
            self._policies[id(rule)] = Policy(
                options.get("params", jnp.float32),
                options["compute"],
                options.get("output", options["compute"]),
            )
        return self._policies[id(rule)]

    def _next(
        self, next_method: Callable[..., Any], context: MethodContext, path: str
    ) -> Callable[..., Any]:
        """The method, or the method that is computed again for the gradient."""
        found = self._book.found("remat", path)
        # A method that calls that of its superclass is still one call of the module.
        if found is None or context.method_name != "__call__" or path in self._computed_again:
            return next_method
        policy = found.value.options.get("policy")
        if isinstance(policy, str):
            policy = getattr(jax.checkpoint_policies, policy)

        def run(*args: Any, **kwargs: Any) -> Any:
            leaves, tree = jax.tree.flatten((args, kwargs))
            arrays = [leaf for leaf in leaves if isinstance(leaf, (jax.Array, np.ndarray))]

            def again(arrays: list[Any]) -> Any:
                rest = iter(arrays)
                mixed = [
                    next(rest) if isinstance(leaf, (jax.Array, np.ndarray)) else leaf
                    for leaf in leaves
                ]
                args, kwargs = jax.tree.unflatten(tree, mixed)
                return next_method(*args, **kwargs)

            self._computed_again.append(path)
            try:
                return remat(again, policy=policy)(arrays)
            finally:
                self._computed_again.remove(path)

        return run

    def _read(self, next_getter: Callable[[Any], Any], value: Any, context: GetterContext) -> Any:
        path = full_path(ambient.get()[0], context.module_name)
        observers = get_frame("rules").observers
        named = self._book.found(f"axes {context.name}", path)
        if named is not None:
            for observer in observers:
                observer.read(
                    get_frame("rules"), "params", context.module_name, context.name, value,
                    init=context.original_init, trainable=None, axes=named.value,
                )  # fmt: skip
        frozen = self._book.found("freeze", path)
        # What `lora` adds to frozen modules is there to be trained.
        is_added = parse_lora_name(context.name) and self._book.found("lora", path)
        if frozen is not None and frozen.value and not is_added:
            for observer in observers:
                observer.froze((lift_prefix() or "") + context.module_name, context.name)
            value = jax.lax.stop_gradient(value)
        is_stored = stored_form(value) is not None  # it is quantized in the params
        if is_stored or not is_weight(context.module_name, context.name, value):
            return next_getter(value)
        small = self._book.found("quantize", path)
        if small is not None:
            return next_getter(quantized_at_read(value, context, small.value.options))
        return next_getter(value)

    def _operate(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext
    ) -> Any:
        book, path = self._book, context.path
        if "out_sharding" in context.options and context.options["out_sharding"] is None:
            found = book.found("out_sharding", path)
            if found is not None:
                spec = found.value
                inner_op = next_op
                next_op = lambda *operands, **options: inner_op(  # noqa: E731
                    *operands, **{"out_sharding": spec, **options}
                )
        small = book.found("quantize", path)
        if small is not None:
            serving = Serving(small.value.options.get("activations"), False, None)
            next_op = functools.partial(_then, serving, next_op, context)
        low = book.found("fp8_training", path) if context.op in PRODUCTS else None
        if low is not None:
            training = Fp8Training(low.value.options["history"], None)
            next_op = functools.partial(_then, training, next_op, context)
        found = book.found(f"ops {context.op}", path)
        if found is None:
            return next_op(*operands)
        return _changed(found.value)(next_op, operands, context)


def _then(
    interceptor: Any,
    next_op: Callable[..., Any],
    context: OpContext,
    *operands: Any,
    **changed: Any,
) -> Any:
    """Runs another interceptor, with the options that the one before it has changed."""
    context = context._replace(options={**context.options, **changed})
    return interceptor(lambda *a, **k: next_op(*a, **{**changed, **k}), operands, context)


def _changed(value: Any) -> Any:
    """Returns the interceptor that a value of `ps.rules.ops` stands for."""
    if isinstance(value, str):
        if is_implementation(value):
            return attention_implementation(value)
        return functools.partial(_in_dtype, jnp.dtype(value))
    code = getattr(value, "__code__", None)
    if code is not None and code.co_varnames[:1] in (("query",), ("q",)):
        return attention_implementation(value)
    return value


def quantized_at_read(value: Any, context: GetterContext, options: Mapping[str, Any]) -> Any:
    """Returns a weight after quantization, and notes its quantized form for products."""
    module, name = context.module_name, context.name
    small = weights({module: {name: value}}, options["weights"], per=options.get("per", "channel"))
    stored: QuantizedArray = small[module][name]
    rounded = value + jax.lax.stop_gradient(stored.dequantize().astype(value.dtype) - value)
    if "activations" in options:  # or the product is that of the rounded weight
        note_stored(rounded, jax.lax.stop_gradient(stored))
    return rounded


def _in_dtype(
    dtype: Any, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext
) -> Any:
    """Runs an operation in a dtype; its result has the dtype that it has without."""

    def is_float(leaf: Any) -> bool:
        return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)

    # The dtype that JAX finds for the operands, unless the layer requests another.
    kept = context.options.get("preferred_element_type") or jnp.result_type(
        *(leaf for leaf in operands if is_float(leaf))
    )
    out = next_op(*(leaf.astype(dtype) if is_float(leaf) else leaf for leaf in operands))
    return jax.tree.map(lambda leaf: leaf.astype(kept), out)
