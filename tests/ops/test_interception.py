"""What interceptors get, what they may do, and the classes of what reports return."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jnp.linspace(-1, 1, 8).reshape(2, 4)


def two(x: Any) -> Any:
    return ps.Linear(2, name="b")(ps.Linear(3, name="a")(x))


def test_the_context_says_what_runs() -> None:
    seen: list[ps.ops.OpContext] = []

    def look(next_op: Any, operands: Any, context: ps.ops.OpContext) -> Any:
        seen.append(context)
        return next_op(*operands)

    interceptor: ps.ops.OpInterceptor = look
    f = ps.transform(two)
    params = f.init(KEY, X)
    with ps.intercept_ops(interceptor):
        f.apply(params, None, X)
    assert [context.path for context in seen] == ["a", "b"]
    assert all(isinstance(context, ps.ops.OpContext) for context in seen)
    assert [type(context.module) for context in seen] == [ps.Linear, ps.Linear]
    assert [context.params for context in seen] == [{"w": 1}, {"w": 1}]
    assert seen[0].options["precision"] is None


def test_outermost_first_and_options_are_passed_on() -> None:
    order: list[str] = []

    def outer(next_op: Any, operands: Any, context: Any) -> Any:
        order.append(f"outer {context.options['precision']}")
        return next_op(*operands, precision="highest")

    def inner(next_op: Any, operands: Any, context: Any) -> Any:
        order.append(f"inner {context.options['precision']}")
        # What an interceptor computes is seen by no interceptor.
        return next_op(*operands) + 0 * ps.ops.dot_general(*operands)

    f = ps.transform(lambda x: ps.Linear(2)(x))
    params = f.init(KEY, X)
    with ps.intercept_ops(outer), ps.intercept_ops(inner):
        text = str(jax.make_jaxpr(f.apply)(params, None, X))
    assert order == ["outer None", "inner highest"]
    assert "HIGHEST" in text


@pytest.mark.parametrize("jit", [False, True])
def test_one_that_computes_comes_last(jit: bool) -> None:
    class Computes:
        computes = True

        def __call__(self, next_op: Any, operands: Any, context: Any) -> Any:
            x, w = operands
            return x @ w

    def doubled(next_op: Any, operands: Any, context: Any) -> Any:
        return 2 * next_op(*operands)

    f = ps.transform(lambda x: ps.Linear(2)(x))
    params = f.init(KEY, X)
    run = jax.jit(f.apply) if jit else f.apply
    with ps.intercept_ops(Computes()), ps.intercept_ops(doubled):
        out = run(params, None, X)
    np.testing.assert_allclose(out, 2 * X @ params["linear"]["w"], rtol=1e-5, atol=1e-6)


def test_in_a_part_of_a_function() -> None:
    def f(x: Any) -> Any:
        with ps.intercept_ops(lambda next_op, operands, context: 0 * next_op(*operands)):
            x = ps.Linear(4, name="a")(x)
        return x + ps.Linear(4, name="b")(X)

    g = ps.transform(f)
    params = g.init(KEY, X)
    np.testing.assert_allclose(g.apply(params, None, X), X @ params["b"]["w"], rtol=1e-5, atol=1e-6)


def test_classes_of_reports() -> None:
    net = ps.configured(two, {"a": ps.rules.freeze()})
    table = ps.explain_rules(net)(KEY, X)
    assert isinstance(table, ps.rules.Explanation)
    assert all(isinstance(entry, ps.rules.ExplainedRule) for entry in table)
    assert all(isinstance(rule, ps.rules.Rule) for rules in net.rules.values() for rule in rules)
    costs = ps.operation_costs(lambda x: x @ x.T)(X)
    assert isinstance(costs, ps.OperationCosts)
    assert all(isinstance(row, ps.OperationCost) for row in costs.rows)
    assert all(isinstance(row, ps.ModuleCost) for row in costs.by_module().values())
    moe = ps.transform(lambda x: ps.MixtureOfExperts(2, hidden_size=3).with_routing(x))
    _, routing = moe.apply(moe.init(KEY, X[None]), None, X[None])
    assert isinstance(routing, ps.Routing)
