"""TensorFlow's neural networks, random numbers and control flow."""

from purestate._port import rules_nn, rules_random
from purestate._port.row import row

POOLING = "input:t, ksize, strides, padding, data_format='NHWC', name=None"

ROWS = (
    # Activations
    row("nn.relu", "features:t, name=None", "jax.nn.relu({features})", "jax.nn.relu"),
    row("nn.relu6", "features:t, name=None", "jax.nn.relu6({features})", "jax.nn.relu6"),
    row("nn.elu", "features:t, name=None", "jax.nn.elu({features})", "jax.nn.elu"),
    row("nn.selu", "features:t, name=None", "jax.nn.selu({features})", "jax.nn.selu"),
    row("nn.gelu", "features:t, approximate=False, name=None", rules_nn.gelu,
        "functools.partial(jax.nn.gelu, approximate=False)"),
    row("nn.leaky_relu", "features:t, alpha=0.2, name=None", rules_nn.leaky_relu,
        "functools.partial(jax.nn.leaky_relu, negative_slope=0.2)"),
    row("nn.silu", "features:t, beta=1.0", "jax.nn.silu({features})", "jax.nn.silu",
        also="nn.swish"),
    row("sigmoid", "x:t, name=None", "jax.nn.sigmoid({x})", "jax.nn.sigmoid",
        also="nn.sigmoid math.sigmoid"),
    row("nn.tanh", "x:t, name=None", "jnp.tanh({x})", "jnp.tanh"),
    row("nn.softplus", "features:t, name=None", "jax.nn.softplus({features})", "jax.nn.softplus",
        also="math.softplus"),
    row("nn.softsign", "features:t, name=None", "jax.nn.soft_sign({features})",
        "jax.nn.soft_sign", also="math.softsign"),
    row("nn.softmax", "logits:t, axis=None, name=None", "jax.nn.softmax({logits}, axis={axis})",
        "jax.nn.softmax", also="math.softmax"),
    row("nn.log_softmax", "logits:t, axis=None, name=None",
        "jax.nn.log_softmax({logits}, axis={axis})", "jax.nn.log_softmax", also="math.log_softmax"),
    # Losses
    row("nn.softmax_cross_entropy_with_logits", "labels:t, logits:t, axis=-1, name=None",
        "optax.softmax_cross_entropy(logits={logits}, labels={labels}, axis={axis})"),
    row("nn.sparse_softmax_cross_entropy_with_logits", "labels:t, logits:t, name=None",
        "optax.softmax_cross_entropy_with_integer_labels(logits={logits}, labels={labels})"),
    row("nn.sigmoid_cross_entropy_with_logits", "labels:t, logits:t, name=None",
        "optax.sigmoid_binary_cross_entropy(logits={logits}, labels={labels})"),
    row("nn.l2_loss", "t:t, name=None", "0.5 * jnp.sum(jnp.square({t}))"),
    # Layers
    row("nn.moments", "x:t, axes, shift=None, keepdims=False, name=None", rules_nn.moments,
        drops="shift", old="keep_dims=keepdims"),
    row("nn.bias_add", "value:t, bias:t, data_format=None, name=None", rules_nn.bias_add,
        drops="data_format"),
    row("nn.dropout", "x:t, rate, noise_shape=None, seed=None, name=None", rules_random.dropout,
        drops="seed"),
    row("nn.conv2d", "input:t, filters:t, strides, padding, data_format='NHWC', dilations=None,"
        " name=None", rules_nn.conv2d, drops="strides dilations"),
    row("nn.max_pool2d", POOLING, rules_nn.pool("max"), drops="ksize strides"),
    row("nn.avg_pool2d", POOLING, rules_nn.pool("avg"), drops="ksize strides"),
    # Gradients, compilation, control flow
    row("stop_gradient", "input:t, name=None", "jax.lax.stop_gradient({input})",
        "jax.lax.stop_gradient"),
    row("function", "func, input_signature=None, autograph=True, jit_compile=None,"
        " reduce_retracing=False, experimental_relax_shapes=None", rules_nn.function,
        drops="input_signature autograph jit_compile reduce_retracing experimental_relax_shapes"),
    row("name_scope", "name", "jax.named_scope({name})",
        remark="`jax.named_scope` does not change the names of variables that are made inside."),
    row("cond", "pred, true_fn=None, false_fn=None, name=None", rules_nn.cond),
    row("while_loop", "cond, body, loop_vars, shape_invariants=None, parallel_iterations=10,"
        " back_prop=True, swap_memory=False, maximum_iterations=None, name=None",
        rules_nn.while_loop, drops="parallel_iterations swap_memory shape_invariants"),
    row("scan", "fn, elems, initializer=None, parallel_iterations=10, back_prop=True,"
        " swap_memory=False, infer_shape=True, reverse=False, name=None", rules_nn.scan,
        drops="parallel_iterations swap_memory infer_shape reverse"),
    row("map_fn", "fn, elems, dtype=None, parallel_iterations=None, back_prop=True,"
        " swap_memory=False, infer_shape=True, name=None, fn_output_signature=None",
        rules_nn.map_fn,
        drops="parallel_iterations swap_memory infer_shape dtype fn_output_signature"),
    row("vectorized_map", "fn, elems, fallback_to_while_loop=True, warn=True",
        rules_nn.vectorized_map, drops="fallback_to_while_loop warn"),
    # Random numbers
    row("random.uniform", "shape, minval=0, maxval=None, dtype='float32', seed=None, name=None",
        rules_random.uniform, drops="seed"),
    row("random.normal", "shape, mean=0.0, stddev=1.0, dtype='float32', seed=None, name=None",
        rules_random.normal, drops="seed"),
    row("random.truncated_normal",
        "shape, mean=0.0, stddev=1.0, dtype='float32', seed=None, name=None",
        rules_random.truncated_normal, drops="seed"),
    row("random.categorical", "logits:t, num_samples, dtype=None, seed=None, name=None",
        rules_random.categorical, drops="seed num_samples"),
    row("random.shuffle", "value:t, seed=None, name=None", rules_random.shuffle, drops="seed"),
    row("random.set_seed", "seed", rules_random.set_seed),
    # Initializers
    row("zeros_initializer", "", "snt.initializers.Zeros()", also="initializers.zeros"),
    row("ones_initializer", "", "snt.initializers.Ones()", also="initializers.ones"),
    row("constant_initializer", "value=0", "snt.initializers.Constant({value})",
        also="initializers.constant"),
)  # fmt: skip
