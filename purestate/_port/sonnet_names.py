"""Sonnet's names: which there are, and which its private files hold."""

from collections.abc import Callable, Collection

import libcst as cst
from libcst.metadata import QualifiedNameProvider

from purestate._port.resolve import imported_name
from purestate._port.row import Left

_NAMES = (
    "BaseBatchNorm BatchApply BatchNorm Bias Conv1D Conv1DLSTM Conv1DTranspose Conv2D Conv2DLSTM"
    " Conv2DTranspose Conv3D Conv3DLSTM Conv3DTranspose DeepRNN Deferred DepthwiseConv2D Dropout"
    " Embed ExponentialMovingAverage Flatten GRU GroupNorm InstanceNorm LSTM LSTMState LayerNorm"
    " Linear Mean Metric Module Optimizer RNNCore Reshape Sequential Sum TrainableState"
    " UnrolledLSTM UnrolledRNN VanillaRNN allow_empty_variables build custom_variable_getter"
    " deep_rnn_with_residual_connections deep_rnn_with_skip_connections distribute dynamic_unroll"
    " flatten format_variables functional initializers leaky_clip_by_value log_variables"
    " lstm_with_recurrent_dropout merge_leading_dims mixed_precision nets no_name_scope once"
    " optimizers pad regularizers reshape scale_gradient split_leading_dim static_unroll"
    # Ours beyond Sonnet's.
    " Variable attribute_paths bind checkpoint function set_seed value_and_grad"
)
PUBLIC = frozenset(_NAMES.split())

SUBMODULES = frozenset(
    [
        "distribute",
        "functional",
        "initializers",
        "mixed_precision",
        "nets",
        "optimizers",
        "pad",
        "regularizers",
    ]
)

# Private file -> the public module that its names are in, if not Sonnet itself.
_PRIVATE_HOMES = {
    "initializers": "initializers",
    "regularizers": "regularizers",
    "pad": "pad",
    "mixed_precision": "mixed_precision",
    "optimizers": "optimizers",
    "nets": "nets",
    "functional": "functional",
    "distribute": "distribute",
}

_DISTRIBUTE = Left(
    "it spreads variables over devices",
    "Write `jax.jit` with shardings, or `jax.shard_map`, around the step.",
)


def public_home(module: str) -> str | None:
    """Returns the public module of a private one: "snt.src.linear" is in "snt"."""
    parts = module.split(".")
    if parts[:2] != ["snt", "src"]:
        return None
    home = _PRIVATE_HOMES.get(parts[2]) if len(parts) > 2 else None
    return f"snt.{home}" if home else "snt"


def is_public(name: str) -> bool:
    """Whether `purestate.sonnet` has a name such as "snt.nets.MLP"."""
    parts = name.split(".")
    return len(parts) == 1 or parts[1] in PUBLIC


def advice_on_sonnet(name: str) -> Left | None:
    """Says why a name of Sonnet cannot stay, or returns None if it can."""
    if not name.startswith("snt."):
        return None
    if name.startswith("snt.distribute.") and not name.endswith("CrossReplicaBatchNorm"):
        return _DISTRIBUTE
    if name.startswith("snt.src") or not is_public(name):
        return Left(
            "it is private, or not in Sonnet 2", "Write the public name below `purestate.sonnet`."
        )
    return None


class ModuleClasses(cst.CSTVisitor):
    """Finds the classes of a program that are modules."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        if is_module_class(node, lambda base: imported_name(self, base), self.names):
            self.names.add(node.name.value)


def is_module_class(
    node: cst.ClassDef, name_of: Callable[[cst.CSTNode], str | None], known: Collection[str]
) -> bool:
    """Whether a class derives from modules of Sonnet or TensorFlow, or from such a class."""
    for base in node.bases:
        name = name_of(base.value) or ""
        if name.startswith("snt.") or name == "tf.Module":
            return True
        if isinstance(base.value, cst.Name) and base.value.value in known:
            return True
    return False
