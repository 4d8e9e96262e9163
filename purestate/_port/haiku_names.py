"""Haiku's names: those of its private files, of old versions, and those that have moved."""

_PRIVATE = {
    "attention": "MultiHeadAttention",
    "base": "DO_NOT_STORE GetterContext PRNGSequence SetterContext current_name custom_creator"
    " custom_getter custom_setter get_current_state get_initial_state get_parameter get_params"
    " get_state maybe_get_rng_sequence_state maybe_next_rng_key next_rng_key next_rng_keys"
    " replace_rng_sequence_state reserve_rng_keys set_state with_rng",
    "basic": "BatchApply Linear Sequential dropout expand_apply multinomial one_hot to_module",
    "batch_norm": "BatchNorm",
    "bias": "Bias",
    "config": "config.context config.set experimental.check_jax_usage"
    " experimental.module_auto_repr experimental.rng_reserve_size",
    "conv": "Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvND"
    " ConvNDTranspose",
    "data_structures": "data_structures.to_haiku_dict data_structures.to_immutable_dict"
    " data_structures.to_mutable_dict",
    "deferred": "Deferred",
    "depthwise_conv": "DepthwiseConv1D DepthwiseConv2D DepthwiseConv3D SeparableDepthwiseConv2D",
    "dot": "experimental.abstract_to_dot to_dot",
    "embed": "Embed EmbedLookupStyle",
    "eval_shape": "experimental.fast_eval_shape",
    "filtering": "data_structures.filter data_structures.is_subset data_structures.map"
    " data_structures.merge data_structures.partition data_structures.partition_n"
    " data_structures.traverse",
    "group_norm": "GroupNorm",
    "initializers": "initializers.Constant initializers.Identity initializers.Orthogonal"
    " initializers.RandomNormal initializers.RandomUniform initializers.TruncatedNormal"
    " initializers.UniformScaling initializers.VarianceScaling",
    "layer_norm": "InstanceNorm LayerNorm",
    "layer_stack": "LayerStackTransparencyMapping layer_stack",
    "lift": "LiftWithStateUpdater lift lift_with_state transparent_lift"
    " transparent_lift_with_state",
    "mixed_precision": "mixed_precision.clear_policy mixed_precision.current_policy"
    " mixed_precision.get_policy mixed_precision.push_policy mixed_precision.set_policy",
    "module": "MethodContext Module force_name intercept_methods name_like name_scope transparent",
    "moving_averages": "EMAParamsTree ExponentialMovingAverage",
    "multi_transform": "MultiTransformed MultiTransformedWithState multi_transform"
    " multi_transform_with_state without_apply_rng",
    "nets.mlp": "nets.MLP",
    "nets.mobilenetv1": "nets.MobileNetV1",
    "nets.resnet": "nets.ResNet nets.ResNet18 nets.ResNet34 nets.ResNet50 nets.ResNet101"
    " nets.ResNet152 nets.ResNet200",
    "nets.vqvae": "nets.VectorQuantizer nets.VectorQuantizerEMA",
    "pad": "pad.causal pad.create pad.create_from_padfn pad.create_from_tuple pad.full"
    " pad.is_padfn pad.reverse_causal pad.same pad.valid",
    "pool": "AvgPool MaxPool avg_pool max_pool",
    "random": "experimental.optimize_rng_use",
    "recurrent": "Conv1DLSTM Conv2DLSTM Conv3DLSTM DeepRNN GRU IdentityCore LSTM LSTMState RNNCore"
    " ResetCore VanillaRNN deep_rnn_with_skip_connections dynamic_unroll static_unroll",
    "reshape": "Flatten Reshape",
    "rms_norm": "RMSNorm",
    "spectral_norm": "SNParamsTree SpectralNorm",
    "stateful": "cond eval_shape fori_loop grad map remat scan switch value_and_grad vmap"
    " while_loop",
    "summarise": "experimental.ArraySpec experimental.MethodInvocation experimental.ModuleDetails"
    " experimental.eval_summary experimental.tabulate",
    "test_utils": "testing.transform_and_run",
    "transform": "Transformed TransformedWithState running_init transform transform_with_state"
    " with_empty_state without_state",
    "typing": "Initializer ModuleProtocol MutableParams MutableState Params PRNGKey State"
    " SupportsCall",
    "utils": "data_structures.tree_bytes data_structures.tree_size get_channel_index",
}

PUBLIC_BY_PRIVATE: dict[str, str] = {
    f"haiku._src.{file}.{name.rpartition('.')[2]}": f"haiku.{name}"
    for file, names in _PRIVATE.items()
    for name in names.split()
}
"""`haiku._src.recurrent.LSTM` is `haiku.LSTM`."""

MOVED: dict[str, str] = {
    f"haiku.experimental.{name}": f"haiku.{name}"
    for name in [
        "DO_NOT_STORE",
        "GetterContext",
        "LayerStackTransparencyMapping",
        "LiftWithStateUpdater",
        "MethodContext",
        "current_name",
        "custom_creator",
        "custom_getter",
        "force_name",
        "get_current_state",
        "get_initial_state",
        "get_params",
        "intercept_methods",
        "layer_stack",
        "lift",
        "lift_with_state",
        "maybe_get_rng_sequence_state",
        "name_like",
        "name_scope",
        "replace_rng_sequence_state",
        "to_dot",
        "transparent_lift",
        "transparent_lift_with_state",
        "remat",
        "switch",
        "cond",
        "vmap",
        "scan",
        "fori_loop",
        "while_loop",
        "running_init",
    ]
} | {
    "haiku.experimental.ParamContext": "haiku.GetterContext",
    "haiku.experimental.set_policy": "haiku.mixed_precision.set_policy",
    "haiku.experimental.get_policy": "haiku.mixed_precision.get_policy",
    "haiku.experimental.named_call": "jax.named_call",
    "haiku.named_call": "jax.named_call",
}
"""Names that are elsewhere now."""
