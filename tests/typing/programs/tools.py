"""Tables and drawings, surgery, tests, flax."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])
params: ps.MutableParams = {}


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


t = ps.transform(f)
reveal_type(ps.experimental.tabulate(t)(x))  # str
reveal_type(ps.to_dot(t.apply)(params, None, x))  # str
reveal_type(ps.experimental.eval_summary(t)(x)[0].module_details.module)  # Module
reveal_type(ps.experimental.fast_eval_shape(t.init, None, x))  # Any
ps.experimental.tabulate(t)("x")  # error: "Array"
ps.experimental.tabluate(t)
# in pyright: error: tabluate
# in mypy: error: tabluate

reveal_type(ps.testing.transform_and_run(f)(x))  # Array
ps.testing.transform_and_run(f)("x")  # error: "Array"


@ps.testing.transform_and_run(seed=3)
def test_f(n: int) -> None:
    pass


reveal_type(test_f)  # (n: int) -> None
reveal_type(ps.partition_trainable(params, ps.specs(t)(None, x)))  # tuple[Any, Any]
reveal_type(ps.export(t, params, None, "float32[b, 3]"))  # ExportedModel
ps.TrainState.create(t, None, 0, x)  # error: "Transformation"
reveal_type(ps.convert.from_torch({}, t, None, x).report)  # ConversionReport
reveal_type(ps.stack_layers(params, "block_{}"))  # Any
reveal_type(ps.surgery.filter(params, ps.surgery.glob("*/w")))  # Any
reveal_type(ps.merge_lora(params))  # dict[str, dict[str, Any]]
reveal_type(ps.mixed_precision.Policy(jnp.float32, jnp.bfloat16, jnp.float32).cast_to_compute(x))
# in both: Array
policy = ps.mixed_precision.Policy(jnp.float32, jnp.bfloat16, jnp.float32)
ps.mixed_precision.set_policy(ps.Linear, policy)
ps.mixed_precision.set_policy(ps.Linear, "half")  # error: "PolicyLike"
reveal_type(ps.mixed_precision.get_policy(ps.Linear))  # PolicyLike | None

with ps.lora(4, alpha=8.0), ps.weight_norm(predicate=lambda module, name, value: name == "w"):
    pass
with ps.lora("4"):
    # in pyright: error: "rank"
    # in mypy: error: "lora"
    pass
