"""The functions that dm-haiku has under `experimental`, by the same names."""

from purestate._core.collection import DO_NOT_STORE
from purestate._core.config import check_jax_usage, module_auto_repr, rng_reserve_size
from purestate._core.current import current_name, get_current_state, get_initial_state, get_params
from purestate._core.hooks import (
    GetterContext,
    MethodContext,
    custom_creator,
    custom_getter,
    intercept_methods,
)
from purestate._core.hooks import GetterContext as ParamContext
from purestate._core.module import force_name, name_like
from purestate._core.name_scope import name_scope
from purestate._core.rng import maybe_get_rng_sequence_state, replace_rng_sequence_state
from purestate._inspection.dot import abstract_to_dot, to_dot
from purestate._inspection.summary import ArraySpec, MethodInvocation, ModuleDetails, eval_summary
from purestate._inspection.tabulate import tabulate
from purestate._lifted.fast_eval_shape import fast_eval_shape
from purestate._lifted.layer_names import LayerStackTransparencyMapping
from purestate._lifted.layer_stack import layer_stack
from purestate._lifted.lift import (
    LiftWithStateUpdater,
    lift,
    lift_with_state,
    transparent_lift,
    transparent_lift_with_state,
)
from purestate._lifted.optimize_rng_use import optimize_rng_use
from purestate.experimental import flax, jaxpr_info

__all__ = [
    "DO_NOT_STORE",
    "ArraySpec",
    "GetterContext",
    "LayerStackTransparencyMapping",
    "LiftWithStateUpdater",
    "MethodContext",
    "MethodInvocation",
    "ModuleDetails",
    "ParamContext",
    "abstract_to_dot",
    "check_jax_usage",
    "current_name",
    "custom_creator",
    "custom_getter",
    "eval_summary",
    "fast_eval_shape",
    "flax",
    "force_name",
    "get_current_state",
    "get_initial_state",
    "get_params",
    "intercept_methods",
    "jaxpr_info",
    "layer_stack",
    "lift",
    "lift_with_state",
    "maybe_get_rng_sequence_state",
    "module_auto_repr",
    "name_like",
    "name_scope",
    "optimize_rng_use",
    "replace_rng_sequence_state",
    "rng_reserve_size",
    "tabulate",
    "to_dot",
    "transparent_lift",
    "transparent_lift_with_state",
]
