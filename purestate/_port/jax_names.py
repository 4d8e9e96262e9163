"""Names that JAX had and has no more."""

from purestate._port.row import Left, Row, row

_TREE = ["map", "leaves", "flatten", "unflatten", "structure", "all", "reduce", "transpose"]
_RENAMED = {
    **{f"jax.tree_{name}": f"jax.tree.{name}" for name in _TREE},
    "jax.tree_multimap": "jax.tree.map",
    "jax.tree_util.tree_multimap": "jax.tree.map",
    "jax.treedef_is_leaf": "jax.tree_util.treedef_is_leaf",
    "jax.treedef_children": "jax.tree_util.treedef_children",
    "jax.treedef_tuple": "jax.tree_util.treedef_tuple",
    "jax.partial": "functools.partial",
    "jax.DeviceArray": "jax.Array",
    "jax.numpy.DeviceArray": "jax.Array",
    "jax.interpreters.xla.DeviceArray": "jax.Array",
    "jax.random.KeyArray": "jax.Array",
    "jax.ShapedArray": "jax.ShapeDtypeStruct",
    "jax.config.config": "jax.config",
    "jax.numpy.trapz": "jnp.trapezoid",
    "jax.numpy.in1d": "jnp.isin",
    "jax.numpy.row_stack": "jnp.vstack",
    "jax.numpy.round_": "jnp.round",
    "jax.numpy.product": "jnp.prod",
    "jax.numpy.cumproduct": "jnp.cumprod",
    "jax.numpy.sometrue": "jnp.any",
    "jax.numpy.alltrue": "jnp.all",
    "jax.numpy.fix": "jnp.trunc",
    "jax.nn.normalize": "jax.nn.standardize",
    "jax.ops.index": "jnp.s_",
    "jax.random.shuffle": "jax.random.permutation",
}

_UPDATES = {"update": "set", "add": "add", "mul": "multiply", "min": "min", "max": "max"}


ROWS: tuple[Row, ...] = (
    *(row(name, mention=ours) for name, ours in _RENAMED.items()),
    row("jax.numpy.msort", "a", "jnp.sort({a}, axis=0)"),
    row("jax.lax.tie_in", "x, y", "{y}", drops="x"),
    *(
        row(f"jax.ops.index_{name}", "x, idx, y", f"{{x}}.at[{{idx}}].{method}({{y}})")
        for name, method in _UPDATES.items()
    ),
)

GONE: dict[str, Left] = {
    "jax.xmap": Left("JAX has no such name", "Write `jax.shard_map`."),
    "jax.experimental.maps": Left("JAX has no such module", "Write `jax.shard_map`."),
    "jax.experimental.optimizers": Left(
        "JAX has no such module", "Write `optax`, or import `jax.example_libraries.optimizers`."
    ),
    "jax.experimental.stax": Left("JAX has no such module", "Import `jax.example_libraries.stax`."),
    "jax.experimental.host_callback": Left(
        "JAX has no such module", "Write `jax.debug.callback`, or `jax.experimental.io_callback`."
    ),
    "jax.linear_util": Left("JAX has no such module", "Import `jax.extend.linear_util`."),
    "jax.abstract_arrays": Left("JAX has no such module", "Write `jax.ShapeDtypeStruct`."),
    "jax.device_put_replicated": Left(
        "JAX has no such function", "Write `jax.device_put(x, sharding)`."
    ),
    "jax.device_put_sharded": Left(
        "JAX has no such function", "Write `jax.device_put(x, sharding)`."
    ),
    "jax.lax.pvary": Left("JAX has no such function", "Write `jax.lax.pcast(x, to='varying')`."),
    "jax.mask": Left("JAX has no such function", "Write padded arrays and a mask."),
}

HAIKU_GONE: dict[str, Left] = {
    "haiku.get_rng": Left("Haiku has no such name", "Write `hk.next_rng_key()`."),
    "haiku.experimental.summarise": Left(
        "Haiku has no such name", "Write `hk.experimental.tabulate`."
    ),
    "haiku.nets.resnet": Left("Haiku has no such module", "Write `hk.nets.ResNet`."),
}

ROWS_BY_NAME: dict[str, Row] = {found.name: found for found in ROWS}
