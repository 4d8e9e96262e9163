"""One line of TensorFlow for each form of each row of the table.

`record.py` runs them in TensorFlow, and `test_table.py` runs what the tool makes of them in JAX.
"""

PREAMBLE = """\
import numpy as np
import tensorflow as tf

x = tf.constant([[1.5, -2.0, 0.25], [3.0, 0.5, -1.25]])
y = tf.constant([[0.5, 2.0, -0.75], [1.0, 0.5, 2.25]])
p = tf.constant([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
z = tf.constant([[0.0, 2.0, -0.75], [0.0, 0.5, 2.25]])
v = tf.constant([0.5, -1.0, 2.0])
n = tf.constant([[3, -2, 5], [-7, 4, 2]])
b = tf.constant([[True, False, True], [False, False, True]])
m = tf.constant([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 1.5]])
t = tf.reshape(tf.range(24.0), [2, 3, 4])
ids = tf.constant([2, 0, 2])
batch_ids = tf.constant([[0, 2], [1, 1]])
image = tf.reshape(tf.range(50.0) / 10.0, [1, 5, 5, 2])
kernel = tf.reshape(tf.range(36.0) / 20.0 - 1.0, [3, 3, 2, 2])
"""

_UNARY = (
    "abs sign exp square round floor sin cos tan sinh cosh tanh asinh atan negative"
    " math.expm1 math.ceil math.erf math.is_nan math.is_inf math.is_finite math.log_sigmoid"
    " sigmoid nn.relu nn.relu6 nn.elu nn.selu nn.gelu nn.leaky_relu nn.silu nn.tanh nn.softplus"
    " nn.softsign nn.softmax nn.log_softmax math.conj math.real math.imag"
)
_OF_POSITIVE = (
    "sqrt math.log math.log1p math.rsqrt math.reciprocal math.lgamma math.digamma math.erfinv"
    " acos asin atanh"
)
_BINARY = (
    "add subtract multiply maximum minimum equal not_equal less less_equal greater greater_equal"
    " math.divide math.mod math.floordiv math.squared_difference math.atan2"
)
_REDUCTIONS = (
    "reduce_mean reduce_sum reduce_prod reduce_max reduce_min reduce_logsumexp math.reduce_std"
    " math.reduce_variance math.reduce_euclidean_norm"
)
_ARGUMENT = {"nn.relu": "features", "nn.softmax": "logits"}

SNIPPETS: dict[str, list[str]] = {
    **{name: [f"tf.{name}(x)", f"tf.{name}(tf.negative(y))"] for name in _UNARY.split()},
    **{name: [f"tf.{name}(p)", f"tf.{name}(p, name='op')"] for name in _OF_POSITIVE.split()},
    "acosh": ["tf.acosh(1.0 + p)"],
    **{
        name: [f"tf.{name}(x, y)", f"tf.{name}(y=y, x=x)"]
        + ([] if name == "math.atan2" else [f"tf.{name}(n, [[2, -3, 5], [2, 2, 2]])"])
        for name in _BINARY.split()
    },
    **{
        name: [
            f"tf.{name}(x)",
            f"tf.{name}(x, 1)",
            f"tf.{name}(x, [0, 1])",
            f"tf.{name}(x, axis=0, keepdims=True)",
            f"tf.{name}(input_tensor=t, axis=(0, -1))",
            f"tf.{name}([1.0, 2.5, 3.0])",
        ]
        for name in _REDUCTIONS.split()
    },
    "reduce_all": ["tf.reduce_all(b)", "tf.reduce_all(b, 1)", "tf.reduce_all(b, 0, keepdims=True)"],
    "reduce_any": ["tf.reduce_any(b)", "tf.reduce_any(b, axis=1)"],
    "logical_and": ["tf.logical_and(b, x > 0)"],
    "logical_or": ["tf.logical_or(b, x > 0)"],
    "math.logical_xor": ["tf.math.logical_xor(b, x > 0)"],
    "logical_not": ["tf.logical_not(b)"],
    "pow": ["tf.pow(p, 2.0)", "tf.pow(x=p, y=y)", "tf.pow(n, 2)"],
    "math.xlogy": ["tf.math.xlogy(z, p)"],
    "math.divide_no_nan": ["tf.math.divide_no_nan(x, z)", "1.0 - tf.math.divide_no_nan(v, v)"],
    **{
        f"math.unsorted_segment_{name}": [
            f"tf.math.unsorted_segment_{name}(m, ids, 3)"
            if name in ("sum", "prod", "mean")
            else f"tf.math.unsorted_segment_{name}(m, [1, 0, 1], 2)",
            f"tf.math.unsorted_segment_{name}(data=v, segment_ids=[1, 0, -1], num_segments=2)"
            if name != "mean"
            else "tf.math.unsorted_segment_mean(v, ids, num_segments=4)",
        ]
        for name in ("sum", "prod", "max", "min", "mean")
    },
    "math.argmax": [
        "tf.argmax(x)",
        "tf.argmax(x, 1)",
        "tf.math.argmax(x, axis=-1, output_type=tf.int32)",
        "tf.argmax(x, output_type=tf.dtypes.int64)",
    ],
    "math.argmin": ["tf.argmin(x)", "tf.argmin(input=x, axis=1)"],
    "math.cumsum": [
        "tf.cumsum(x)",
        "tf.cumsum(x, 1)",
        "tf.cumsum(x, axis=-1, reverse=True)",
        "tf.math.cumsum(x, exclusive=False)",
    ],
    "math.cumprod": ["tf.math.cumprod(x)", "tf.math.cumprod(x, axis=1, reverse=True)"],
    "math.add_n": ["tf.add_n([x, y, p])", "tf.add_n(inputs=[v, v])"],
    "math.top_k": [
        "tf.math.top_k(v, 2)",
        "tf.nn.top_k(x, k=2).values",
        "tf.nn.top_k(x, k=2).indices",
        "tf.math.top_k(x)[0]",
    ],
    "math.count_nonzero": ["tf.math.count_nonzero(z)", "tf.math.count_nonzero(z, axis=1)"],
    "clip_by_value": [
        "tf.clip_by_value(x, -1.0, 1.0)",
        "tf.clip_by_value(x, clip_value_min=0.0, clip_value_max=[1.0, 2.0, 3.0])",
    ],
    "clip_by_norm": ["tf.clip_by_norm(x, 1.0)", "tf.clip_by_norm(x, 100.0) * 2.0"],
    "clip_by_global_norm": [
        "tf.clip_by_global_norm([x, y], 1.0)",
        "tf.clip_by_global_norm([x, y], clip_norm=100.0)",
    ],
    "linalg.global_norm": ["tf.linalg.global_norm([x, y])"],
    "complex": ["tf.complex(x, y)", "tf.math.real(tf.complex(x, y)) + tf.math.imag(tf.complex(x, y))"],
    "matmul": [
        "tf.matmul(x, m)",
        "tf.matmul(x, y, transpose_b=True)",
        "tf.matmul(x, y, True)",
        "tf.linalg.matmul(a=m, b=m, adjoint_a=True)",
        "tf.matmul(t, t, transpose_a=True)",
    ],
    "linalg.matvec": ["tf.linalg.matvec(m, v)", "tf.linalg.matvec(x, [1.0, 2.0], transpose_a=True)"],
    "tensordot": [
        "tf.tensordot(x, m, 1)",
        "tf.tensordot(x, y, axes=[[1], [1]])",
        "tf.tensordot(x, y, axes=2)",
    ],
    "einsum": ["(lambda *rest: tf.einsum('ij,jk->ik', *rest))(x, m)", "tf.einsum('ij,jk->ik', x, m)", "tf.einsum('bij->bj', t)", "tf.einsum('ij,kj', x, y)"],
    "norm": [
        "tf.norm(x)",
        "tf.norm(t)",
        "tf.norm(x, axis=1)",
        "tf.linalg.norm(x, ord=1, axis=0)",
        "tf.norm(x, ord=np.inf, axis=1, keepdims=True)",
        "tf.norm(t, axis=[1, 2])",
    ],
    "math.l2_normalize": [
        "tf.math.l2_normalize(x, axis=1)",
        "tf.nn.l2_normalize(x)",
        "tf.math.l2_normalize(x, [0, 1], 100.0)",
    ],
    "linalg.trace": ["tf.linalg.trace(m)"],
    "linalg.diag": ["tf.linalg.diag(v)", "tf.linalg.diag(x)"],
    "linalg.diag_part": ["tf.linalg.diag_part(m)", "tf.linalg.diag_part(t)"],
    "linalg.band_part": [
        "tf.linalg.band_part(m, -1, 0)",
        "tf.linalg.band_part(m, 0, -1)",
        "tf.linalg.band_part(m, 0, 1)",
        "tf.linalg.band_part(input=m, num_lower=1, num_upper=0)",
    ],
    "linalg.matrix_transpose": ["tf.linalg.matrix_transpose(t)"],
    "linalg.inv": ["tf.linalg.inv(m)"],
    "linalg.det": ["tf.linalg.det(m)"],
    "linalg.cholesky": ["tf.linalg.cholesky(m)"],
    "linalg.solve": ["tf.linalg.solve(m, tf.transpose(x))"],
    # Arrays
    "constant": [
        "tf.constant(3)",
        "tf.constant([1, 2.5])",
        "tf.constant([1, 2], tf.float32)",
        "tf.constant(0.5, shape=[2, 2])",
        "tf.constant([1, 2, 3, 4], shape=[2, 2], dtype=tf.float32)",
        "tf.constant(True)",
    ],
    "convert_to_tensor": [
        "tf.convert_to_tensor([1, 2])",
        "tf.convert_to_tensor(x)",
        "tf.convert_to_tensor([1, 2], dtype=tf.float32)",
        "tf.convert_to_tensor(value=2.5)",
    ],
    "cast": [
        "tf.cast(x, tf.int32)",
        "tf.cast(3, tf.float32)",
        "tf.cast([1.7, -1.7], dtype=tf.int32)",
        "tf.cast(b, x.dtype) * 2.0",
        "tf.cast(n, tf.bool)",
        "tf.cast(tf.shape(x)[0], tf.float32)",
    ],
    "identity": ["tf.identity(x)", "tf.identity(2.5)"],
    "zeros": ["tf.zeros([2, 3])", "tf.zeros((2,), tf.int32)", "tf.zeros(shape=[1], dtype=tf.bool)"],
    "ones": ["tf.ones([2, 3])", "tf.ones((2,), dtype=tf.int32)", "tf.ones(tf.shape(x))"],
    "zeros_like": ["tf.zeros_like(n)", "tf.zeros_like(x, dtype=tf.int32)", "tf.zeros_like([1, 2])"],
    "ones_like": ["tf.ones_like(input=x)", "tf.ones_like(x, tf.int32)"],
    "fill": ["tf.fill([2, 2], 3)", "tf.fill(dims=[3], value=0.5)", "tf.fill(tf.shape(x), True)"],
    "eye": ["tf.eye(3)", "tf.eye(2, 3)", "tf.eye(2, dtype=tf.int32)", "tf.eye(3, num_columns=2)"],
    "range": [
        "tf.range(4)",
        "tf.range(1, 4)",
        "tf.range(1, 8, 3)",
        "tf.range(start=3, limit=0, delta=-1)",
        "tf.range(4, delta=2)",
        "tf.range(3.0)",
        "tf.range(3, dtype=tf.float32)",
        "tf.range(limit=5, start=2)",
    ],
    "linspace": ["tf.linspace(0.0, 1.0, 5)", "tf.linspace(start=-1.0, stop=1.0, num=3)"],
    "one_hot": [
        "tf.one_hot([0, 2, 5, -1], 3)",
        "tf.one_hot(ids, depth=3, dtype=tf.int32)",
        "tf.one_hot(ids, 3, on_value=5.0, off_value=-1.0)",
        "tf.one_hot(ids, 3, axis=0)",
        "tf.one_hot(ids, 3, on_value=2, off_value=1)",
        "tf.one_hot(ids, 4, 1.0, 0.0, 0)",
        "tf.one_hot(ids, 3, on_value=True, off_value=False, dtype=tf.bool)",
    ],
    "sequence_mask": [
        "tf.sequence_mask([1, 3], 4)",
        "tf.sequence_mask(ids, maxlen=3, dtype=tf.float32)",
    ],
    "shape": [
        "tf.shape(x)",
        "tf.shape(x)[1] + 2",
        "tf.shape(t)[1:] * 2",
        "tf.zeros(tf.shape(t)[1:])",
        "tf.shape(x) * 2",
        "tf.reshape(t, tf.concat([tf.shape(t)[:1], [4, 3]], axis=0))",
        "tf.shape(input=[1.0, 2.0])",
        "tf.reshape(t, [tf.shape(t)[0], -1])",
        "tf.reshape(t, [*tf.shape(t)[:1], 12])",
        "tf.reshape(t, [-1, *[3, 4]])",
        "tf.reshape(tf.shape(t), [3, 1])",
        "tf.zeros([2, tf.shape(x)[1]])",
        "tf.zeros([tf.cast(tf.shape(x)[0] / 2, tf.int32), tf.maximum(tf.shape(x)[1], 1)])",
        "tf.zeros(tf.stack([tf.shape(x)[0], 4]))",
        "tf.zeros(tf.stack([tf.shape(x)[0], 4])[1:])",
        "tf.stack([tf.shape(x)[0], 4]) * 2",
        "tf.concat([tf.shape(x), [4]], 0) * 2",
        "tf.concat([tf.shape(x)[:1], [*[4, 5], 6]], 0)",
        "tf.zeros(tf.concat([[4], *[tf.shape(x)]], 0))",
        "tf.ones(x.shape[:1] + [3])",
        "tf.ones([3] + x.shape[1:])",
        "tf.ones([x.shape[0], 1] + t.shape.as_list()[1:])",
        "tf.reshape(t, [tf.reduce_prod(tf.shape(t)[:2]), -1])",
        "tf.reduce_prod(tf.shape(t)) * 2",
        "tf.zeros(tf.unstack(tf.shape(t))[1:])",
        "tf.tile(x, tf.constant([1, 2]))",
        "tf.transpose(t, tf.concat([[1], [0], tf.range(2, tf.rank(t))], 0))",
        "tf.shape(x)[tf.newaxis]",
    ],
    "size": ["tf.size(x)", "tf.size(input=t)"],
    "rank": ["tf.rank(t)", "tf.range(1, tf.rank(t))"],
    "reshape": ["tf.reshape(x, [3, 2])", "tf.reshape(tensor=x, shape=[-1])", "tf.reshape([1, 2], (2, 1))"],
    "transpose": ["tf.transpose(x)", "tf.transpose(t, [2, 0, 1])", "tf.transpose(t, perm=(1, 0, 2))"],
    "squeeze": ["tf.squeeze([[1.0]])", "tf.squeeze(x[tf.newaxis], 0)", "tf.squeeze(x[None, ..., None], axis=[0, 3])"],
    "expand_dims": ["tf.expand_dims(x, 0)", "tf.expand_dims(input=x, axis=-1)", "tf.expand_dims(1.5, 0)"],
    "concat": [
        "tf.concat([x, y], 0)",
        "tf.concat(values=[x, y, [[1.0, 2.0, 3.0]]], axis=0)",
        "tf.concat((x, y), axis=-1)",
        "tf.concat(tf.abs(x), 1)",
        "tf.concat(values=tf.stack([x, y]), axis=0)",
        "tf.concat([*[x, y], *tf.unstack(t[:, :3, :3])], 0)",
        "(lambda parts=[x, y]: tf.concat(parts, 0))()",
    ],
    "stack": ["tf.stack([x, y])", "tf.stack([v, [1.0, 2.0, 3.0]], axis=1)", "tf.stack([1.0, 2.0])"],
    "unstack": ["tf.unstack(x)", "tf.unstack(t, axis=1)", "tf.unstack(value=x, num=3, axis=-1)"],
    "split": [
        "tf.split(x, 3, axis=1)",
        "tf.split(t, 2)",
        "tf.split(t, [1, 2, 1], axis=-1)",
        "tf.split(value=t, num_or_size_splits=[1, -1], axis=2)",
        "tf.split(t, [tf.shape(x)[0], -1], 1)",
    ],
    "tile": ["tf.tile(x, [2, 1])", "tf.tile(input=v, multiples=[2])", "tf.tile([1, 2], [2])"],
    "repeat": ["tf.repeat(x, 2, axis=0)", "tf.repeat(v, [1, 2, 0])", "tf.repeat(x, repeats=2)"],
    "broadcast_to": ["tf.broadcast_to(v, [2, 3])", "tf.broadcast_to(v, tf.shape(x))"],
    "pad": [
        "tf.pad(x, [[1, 0], [0, 2]])",
        "tf.pad(x, [[1, 0], [0, 2]], constant_values=5.0)",
        "tf.pad(x, [[1, 0], [0, 2]], 'REFLECT')",
        "tf.pad(tensor=x, paddings=[[1, 0], [0, 2]], mode='SYMMETRIC')",
    ],
    "reverse": ["tf.reverse(x, [1])", "tf.reverse(tensor=t, axis=[0, -1])"],
    "roll": ["tf.roll(x, 1, 1)", "tf.roll(x, shift=[1, -1], axis=[0, 1])"],
    "meshgrid": ["(lambda *rest: tf.meshgrid(v, *rest))(v)", "tf.meshgrid(v, [1.0, 2.0])", "tf.meshgrid(v, v, indexing='ij')"],
    "sort": ["tf.sort(x)", "tf.sort(x, axis=0, direction='DESCENDING')"],
    "argsort": ["tf.argsort(x)", "tf.argsort([1, 1, 0], direction='DESCENDING')", "tf.argsort(x, 0)"],
    "where": [
        "tf.where(b, x, y)",
        "tf.where(b)",
        "tf.where(x > 0, x, 0.0)",
        "tf.where(condition=b, x=1, y=0)",
        "tf.where([True, False, True], v, 0.0)",
    ],
    "gather": [
        "tf.gather(v, ids)",
        "tf.gather(x, [2, 0], axis=1)",
        "tf.gather(x, batch_ids, batch_dims=1)",
        "tf.gather(t, [[0, 2], [1, 1]], axis=1, batch_dims=1)",
        "tf.gather(params=t, indices=batch_ids, axis=2, batch_dims=1)",
        "tf.gather(t, batch_ids, axis=-1, batch_dims=1)",
        "tf.gather(t, [[0, 1, 2], [3, 2, 1]], batch_dims=2)",
        "tf.gather(m, [[0, 1]])",
    ],
    "nn.embedding_lookup": ["tf.nn.embedding_lookup(m, ids)"],
    "gather_nd": ["tf.gather_nd(x, [[0, 1], [1, 2]])", "tf.gather_nd(t, [[1, 0]])"],
    "boolean_mask": ["tf.boolean_mask(x, b)", "tf.boolean_mask(v, [True, False, True])"],
    "slice": ["tf.slice(t, [0, 1, 0], [2, 1, -1])", "tf.slice(x, begin=[1, 0], size=[1, 2])"],
    "tensor_scatter_nd_update": ["tf.tensor_scatter_nd_update(v, [[0], [2]], [9.0, 8.0])"],
    "tensor_scatter_nd_add": ["tf.tensor_scatter_nd_add(x, [[0, 1], [0, 1]], [1.0, 2.0])"],
    "scatter_nd": ["tf.scatter_nd([[1], [3]], v[:2], [5])"],
    "nest.map_structure": [
        "tf.nest.map_structure(lambda a: a * 2, {'a': x, 'b': [y]})",
        "tf.nest.map_structure(tf.add, [x, y], [y, x])",
    ],
    "nest.flatten": ["tf.nest.flatten({'b': x, 'a': (y, [v])})"],
    "nest.pack_sequence_as": ["tf.nest.pack_sequence_as({'b': 0, 'a': (1, 2)}, [x, y, v])"],
    # Neural networks
    "nn.softmax_cross_entropy_with_logits": [
        "tf.nn.softmax_cross_entropy_with_logits(labels=p, logits=x)",
        "tf.nn.softmax_cross_entropy_with_logits(p, x)",
    ],
    "nn.sparse_softmax_cross_entropy_with_logits": [
        "tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 2], logits=x)",
        "tf.nn.sparse_softmax_cross_entropy_with_logits([0, 2], x)",
    ],
    "nn.sigmoid_cross_entropy_with_logits": [
        "tf.nn.sigmoid_cross_entropy_with_logits(labels=p, logits=x)"
    ],
    "nn.l2_loss": ["tf.nn.l2_loss(x)", "2.0 * tf.nn.l2_loss(x)"],
    "nn.moments": [
        "tf.nn.moments(x, [0])",
        "tf.nn.moments(t, axes=(0, 1), keepdims=True)",
        "tf.nn.moments(x=t, axes=[1])",
    ],
    "nn.bias_add": ["tf.nn.bias_add(x, v)", "tf.nn.bias_add(value=x, bias=v) * 2.0"],
    "nn.conv2d": [
        "tf.nn.conv2d(image, kernel, 1, 'SAME')",
        "tf.nn.conv2d(image, kernel, strides=[1, 2, 2, 1], padding='VALID')",
        "tf.nn.conv2d(input=image, filters=kernel, strides=2, padding='SAME', data_format='NHWC')",
        "tf.nn.conv2d(image, kernel, 1, 'SAME', dilations=2)",
    ],
    "nn.max_pool2d": [
        "tf.nn.max_pool2d(image, 2, 2, 'SAME')",
        "tf.nn.max_pool2d(image, ksize=[1, 3, 2, 1], strides=[1, 1, 2, 1], padding='VALID')",
    ],
    "nn.avg_pool2d": ["tf.nn.avg_pool2d(image, 2, 2, 'SAME')", "tf.nn.avg_pool2d(image, 3, 1, 'VALID')"],
    "stop_gradient": ["tf.stop_gradient(x)"],
    "function": ["tf.function(lambda a: a + 1.0)(x)"],
    "cond": ["tf.cond(v[0] > 0, lambda: x, lambda: y)", "tf.cond(v[0] < 0, true_fn=lambda: x, false_fn=lambda: y)"],
    "while_loop": ["tf.while_loop(lambda i, a: i < 3, lambda i, a: [i + 1, a * 2.0], [0, v])"],
    "scan": [
        "tf.scan(lambda a, e: a + e, t, initializer=t[0] * 0)",
        "tf.scan(lambda a, e: 2.0 * a + e, v, 1.0, reverse=True)",
    ],
    "map_fn": ["tf.map_fn(lambda a: a * 2.0, x)", "tf.map_fn(lambda e: e[0] + e[1], (x, y), fn_output_signature=tf.float32)"],
    "vectorized_map": ["tf.vectorized_map(lambda a: a * v, x)"],
    # Types
    "float32": ["tf.zeros([1], tf.float32)", "tf.float32.max", "tf.float32.min", "tf.float16.max"],
    "int32": ["tf.int32.max", "tf.zeros([1], tf.int8)", "tf.constant([1, 255], tf.uint8)"],
    "bool": ["tf.constant([1, 0], tf.bool) if False else tf.zeros([2], tf.bool)"],
    "complex64": ["tf.cast(x, tf.complex64)"],
    "newaxis": ["x[:, tf.newaxis]"],
    "TensorShape": ["tf.zeros(tf.TensorShape([2, 3]))"],
    "dtypes.as_dtype": ["tf.zeros([1], tf.dtypes.as_dtype('int32'))"],
    # Methods
    ".numpy()": ["x.numpy()", "x.shape.as_list()", "x.get_shape().as_list()", "t.shape[1:].num_elements()", "tf.zeros([t.shape.rank])", "t.shape.ndims"],
}  # fmt: skip

CASES = [(name, snippet) for name, snippets in SNIPPETS.items() for snippet in snippets]
"""The rows and their snippets, one by one."""
