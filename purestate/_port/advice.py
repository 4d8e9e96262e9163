"""What to write for names of TensorFlow and Sonnet that are not rewritten."""

from purestate._port.row import Left

_CHECKS = Left(
    "it checks values, and `jax.jit` does not have them yet",
    "Write `assert` about shapes, `chex.assert_...`, or `jax.experimental.checkify`.",
)
_KERAS = Left("it is Keras, which this tool does not port", "Write it with `snt` or `jax.numpy`.")
_OPTIMIZERS = Left("it is an optimizer of Keras", "Write `snt.optimizers` or `optax`.")
_FILES = Left("it reads and writes files", "Keep it, or use `pathlib`.")
_STRINGS = Left("an array of JAX cannot hold strings", "Keep it in your input pipeline.")
_DEVICES = Left(
    "it says which devices to use", "Write `jax.devices()`, `jax.sharding` and `jax.shard_map`."
)
_RAGGED = Left("JAX has no such arrays", "Write padded arrays and a mask.")
_GENERATOR = Left(
    "it is a random generator with hidden state", "Write `jax.random.key(seed)`, and pass keys on."
)
_MOMENTS = Left("it keeps state of its own", "Write `snt.ExponentialMovingAverage`.")

ADVICE: dict[str, Left] = {
    "data": Left(
        "an input pipeline stays in TensorFlow",
        "Keep it, and iterate over `dataset.as_numpy_iterator()`.",
    ),
    "summary": Left(
        "summaries stay in TensorFlow",
        "Keep it outside of compiled functions, and pass it `np.asarray(value)`.",
    ),
    "saved_model": Left(
        "a SavedModel holds programs of TensorFlow",
        "Write `ps.export`, or `jax2tf.convert` as the page about TensorFlow shows.",
    ),
    "train": Left(
        "it belongs to TensorFlow's training loops",
        "For checkpoints see `purestate.sonnet.checkpoint` and `ps.checkpoint`.",
    ),
    "train.ExponentialMovingAverage": _MOMENTS,
    "keras": _KERAS,
    "losses": _KERAS,
    "metrics": _KERAS,
    "optimizers": _OPTIMIZERS,
    "keras.optimizers": _OPTIMIZERS,
    "keras.initializers": Left(
        "its defaults are others than Sonnet's", "Write `snt.initializers`."
    ),
    "initializers": Left("its defaults are others than Sonnet's", "Write `snt.initializers`."),
    "image": Left(
        "it works on images", "Write `jax.image.resize` for resizing, or use it in `tf.data`."
    ),
    "io": _FILES,
    "strings": _STRINGS,
    "string": _STRINGS,
    "lookup": _STRINGS,
    "debugging": _CHECKS,
    "Assert": _CHECKS,
    "assert_equal": _CHECKS,
    "ensure_shape": Left("it states a shape", "Write `assert x.shape == (...)`."),
    "print": Left("it prints in the order of the program", "Write `jax.debug.print('{x}', x=x)`."),
    "config": _DEVICES,
    "device": _DEVICES,
    "distribute": _DEVICES,
    "tpu": _DEVICES,
    "compat.v1": Left("it is TensorFlow 1", "Port it to TensorFlow 2 first."),
    "GradientTape": Left(
        "this use of a tape is not one that the tool knows",
        "Write a function that returns the loss, and call `jax.value_and_grad` on it.",
    ),
    "custom_gradient": Left(
        "the function that it decorates returns a value and its gradient",
        "Write `jax.custom_vjp` with a forward and a backward function.",
    ),
    "gradients": Left("it needs the graph of TensorFlow", "Write `jax.grad(f)(x)`."),
    "hessians": Left("it needs the graph of TensorFlow", "Write `jax.hessian(f)(x)`."),
    "control_dependencies": Left(
        "JAX orders operations by their values",
        "Drop it; state changes happen in the order of the program.",
    ),
    "group": Left("JAX has no operations without a value", "Drop it."),
    "no_op": Left("JAX has no operations without a value", "Drop it."),
    "init_scope": Left("JAX has no graphs to leave", "Drop it."),
    "random": _GENERATOR,
    "random.stateless_uniform": Left(
        "its seed is a pair of integers", "Write `jax.random.uniform(key, shape)`."
    ),
    "ragged": _RAGGED,
    "sparse": _RAGGED,
    "RaggedTensor": _RAGGED,
    "SparseTensor": _RAGGED,
    "IndexedSlices": _RAGGED,
    "RaggedTensorSpec": _RAGGED,
    "Variable": Left(
        "it is made outside of a module, and in JAX such a value is passed in and returned",
        "Write an array, or make it in a module with `snt.Variable`.",
    ),
    "TensorArray": Left(
        "it is filled one element after the other", "Return the elements from `jax.lax.scan`."
    ),
    "math.segment_sum": Left(
        "how many segments there are depends on values",
        "Write `jax.ops.segment_sum(data, ids, num_segments=n, indices_are_sorted=True)`.",
    ),
    "py_function": Left("it calls Python", "Write `jax.pure_callback`."),
    "numpy_function": Left("it calls Python", "Write `jax.pure_callback`."),
    "unique": Left("the shape of its result depends on values", "Write `jnp.unique(x, size=...)`."),
    "switch_case": Left(
        "an index out of range takes the last branch in TensorFlow, and the nearest in JAX",
        "Write `jax.lax.switch(index, functions)`.",
    ),
    "errors": Left("JAX raises other errors", "Write the error that JAX or Python raises."),
    "test": Left("it belongs to tests in TensorFlow", "Write tests with pytest."),
    "nest.assert_same_structure": Left(
        "it raises TensorFlow's errors",
        "Write `assert jax.tree.structure(a) == jax.tree.structure(b)`.",
    ),
    "foldl": Left("JAX has one function for loops with a carry", "Write `jax.lax.scan`."),
    "foldr": Left("JAX has one function for loops with a carry", "Write `jax.lax.scan`."),
    "conv": Left("this tool has no rule for it", "Write `jax.lax.conv_general_dilated`."),
    "executing_eagerly": Left("JAX has no such modes", "Drop it."),
}
