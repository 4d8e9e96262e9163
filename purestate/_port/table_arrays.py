"""TensorFlow's functions that make, shape and index arrays."""

from purestate._port import rules, rules_sizes
from purestate._port.row import row

OUT_OF_RANGE = (
    "An index out of range is an error in TensorFlow on a CPU, and NaN or the smallest integer in"
    " JAX; a negative one counts from the end."
)
NOT_JITTABLE = "The shape of the result depends on values, so `jax.jit` cannot compile it."

ROWS = (
    # Making
    row("constant", "value, dtype=None, shape=None, name='Const'", rules.constant),
    row("convert_to_tensor", "value, dtype=None, dtype_hint=None, name=None",
        rules.convert_to_tensor, "jnp.asarray", old="preferred_dtype=dtype_hint"),
    row("cast", "x, dtype, name=None", "jnp.asarray({x}, {dtype})"),
    row("identity", "input, name=None", "jnp.asarray({input})", "jnp.asarray"),
    row("zeros", "shape, dtype='float32', name=None", "jnp.zeros({shape}, {dtype})", "jnp.zeros",
        drops="layout"),
    row("ones", "shape, dtype='float32', name=None", "jnp.ones({shape}, {dtype})", "jnp.ones"),
    row("zeros_like", "input:t, dtype=None, name=None", "jnp.zeros_like({input}, dtype={dtype})",
        "jnp.zeros_like", old="tensor=input"),
    row("ones_like", "input:t, dtype=None, name=None", "jnp.ones_like({input}, dtype={dtype})",
        "jnp.ones_like", old="tensor=input"),
    row("fill", "dims, value, name=None", "jnp.full({dims}, {value})", "jnp.full"),
    row("eye", "num_rows, num_columns=None, batch_shape=None, dtype='float32', name=None",
        "jnp.eye({num_rows}, {num_columns}, dtype={dtype})", also="linalg.eye"),
    row("range", "start, limit=None, delta=1, dtype=None, name='range'", rules.arange),
    row("linspace", "start, stop, num, name=None, axis=0",
        "jnp.linspace({start}, {stop}, {num}, axis={axis})"),
    row("one_hot", "indices:t, depth, on_value=None, off_value=None, axis=None, dtype=None,"
        " name=None", rules.one_hot),
    row("sequence_mask", "lengths:t, maxlen=None, dtype='bool', name=None", rules.sequence_mask),
    # Shaping
    row("shape", "input:t, out_type='int32', name=None", rules_sizes.shape, drops="out_type"),
    row("size", "input:t, out_type='int32', name=None", "jnp.size({input})", drops="out_type"),
    row("rank", "input:t, name=None", "jnp.ndim({input})", "jnp.ndim"),
    row("reshape", "tensor:t, shape, name=None", "jnp.reshape({tensor}, {shape})", "jnp.reshape"),
    row("transpose", "a:t, perm=None, conjugate=False, name='transpose'",
        "jnp.transpose({a}, {perm})", "jnp.transpose"),
    row("squeeze", "input:t, axis=None, name=None", "jnp.squeeze({input}, axis={axis})",
        "jnp.squeeze", old="squeeze_dims=axis"),
    row("expand_dims", "input:t, axis, name=None", "jnp.expand_dims({input}, {axis})",
        "jnp.expand_dims", old="dim=axis"),
    row("concat", "values:ts, axis, name='concat'", rules_sizes.concat,
        old="concat_dim=axis", drops="axis"),
    row("stack", "values:ts, axis=0, name='stack'", rules_sizes.stack, "jnp.stack", drops="axis"),
    row("unstack", "value:t, num=None, axis=0, name='unstack'", rules_sizes.unstack,
        drops="num"),
    row("split", "value:t, num_or_size_splits, axis=0, num=None, name='split'", rules.split,
        drops="num num_or_size_splits"),
    row("tile", "input:t, multiples, name=None", "jnp.tile({input}, {multiples})", "jnp.tile"),
    row("repeat", "input:t, repeats:t, axis=None, name=None",
        "jnp.repeat({input}, {repeats}, axis={axis})", "jnp.repeat"),
    row("broadcast_to", "input:t, shape, name=None", "jnp.broadcast_to({input}, {shape})",
        "jnp.broadcast_to"),
    row("pad", "tensor:t, paddings, mode='CONSTANT', constant_values=0, name=None", rules.pad,
        drops="mode"),
    row("reverse", "tensor:t, axis, name=None", "jnp.flip({tensor}, axis={axis})"),
    row("roll", "input:t, shift, axis, name=None", "jnp.roll({input}, {shift}, axis={axis})",
        "jnp.roll"),
    row("meshgrid", "*args:t, indexing='xy'", "jnp.meshgrid({args}, indexing={indexing})"),
    row("sort", "values:t, axis=-1, direction='ASCENDING', name=None", rules.sort("sort"),
        drops="direction"),
    row("argsort", "values:t, axis=-1, direction='ASCENDING', stable=False, name=None",
        rules.sort("argsort"), drops="stable direction"),
    # Indexing
    row("where", "condition:t, x:t=None, y:t=None, name=None", rules.where),
    row("gather", "params:t, indices:t, validate_indices=None, axis=None, batch_dims=0, name=None",
        rules.gather, drops="validate_indices batch_dims axis", remark=OUT_OF_RANGE),
    row("nn.embedding_lookup", "params:t, ids:t, max_norm=None, name=None",
        "jnp.take({params}, {ids}, axis=0)", remark=OUT_OF_RANGE),
    row("gather_nd", "params:t, indices:t, batch_dims=0, name=None, bad_indices_policy=''",
        "{params}[tuple(jnp.moveaxis({indices}, -1, 0))]", remark=OUT_OF_RANGE),
    row("boolean_mask", "tensor:t, mask:t, axis=None, name='boolean_mask'", "{tensor}[{mask}]",
        remark=NOT_JITTABLE),
    row("slice", "input_:t, begin, size, name=None", rules.slice_, drops="begin size"),
    row("tensor_scatter_nd_update", "tensor:t, indices:t, updates:t, name=None",
        "{tensor}.at[tuple(jnp.moveaxis({indices}, -1, 0))].set({updates})"),
    row("tensor_scatter_nd_add", "tensor:t, indices:t, updates:t, bad_indices_policy='',"
        " name=None",
        "{tensor}.at[tuple(jnp.moveaxis({indices}, -1, 0))].add({updates})"),
    row("scatter_nd", "indices:t, updates:t, shape, bad_indices_policy='', name=None",
        rules.scatter_nd),
    # Trees
    row("nest.map_structure", "func, *structure", "jax.tree.map({func}, {structure})",
        "jax.tree.map", remark="None is a leaf for `tf.nest`, and no leaf for `jax.tree`."),
    row("nest.flatten", "structure, expand_composites=False", "jax.tree.leaves({structure})",
        "jax.tree.leaves"),
    row("nest.pack_sequence_as", "structure, flat_sequence, expand_composites=False",
        "jax.tree.unflatten(jax.tree.structure({structure}), {flat_sequence})"),
)  # fmt: skip
