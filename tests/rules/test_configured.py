"""Rules act on the modules that their patterns fit, in every transform, and on no others."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._rules.pattern import fits

KEY = jax.random.key(0)
X = jnp.asarray(np.random.RandomState(0).standard_normal((2, 4)), jnp.float32)


class Block(ps.Module):
    def __call__(self, x: Any) -> Any:
        x = ps.LayerNorm(-1, True, True, name="norm")(x)
        return jnp.tanh(ps.Linear(4, name="first")(x)) + ps.Linear(4, name="second")(x)


MODES: dict[str, Callable[[Any], Any]] = {
    "plain": lambda x: Block(name="block")(x),
    "remat": lambda x: ps.remat(Block(name="block"))(x),
    "vmap": lambda x: ps.vmap(Block(name="block"), split_rng=False)(x),
    "scan": lambda x: ps.scan(lambda c, x: (c, Block(name="block")(x)), 0.0, x)[1],
    "layer_stack": lambda x: ps.layer_stack(2)(lambda x: Block(name="block")(x))(x),
    "layer_stack_in_module": lambda x: Tower(name="tower")(x),
    "lift": lambda x: _lifted(x),
    "cond": lambda x: ps.cond(True, Block(name="block"), lambda x: x, x),
}


class Tower(ps.Module):
    def __call__(self, x: Any) -> Any:
        return ps.layer_stack(2, name="layers")(lambda x: Block(name="block")(x))(x)


def _lifted(x: Any) -> Any:
    f = ps.transform(lambda x: Block(name="block")(x))
    params = ps.lift(f.init, name="inner")(ps.maybe_next_rng_key(), x)
    return f.apply(params, None, x)


def pair_of(mode: str, rules: Any, rng_mode: str = "sequence") -> Any:
    net = ps.configured(MODES[mode], rules)
    return ps.transform(net, rng_mode=rng_mode), ps.transform(MODES[mode], rng_mode=rng_mode)


def gradients(f: Any, params: Any, x: Any = X) -> Any:
    return jax.grad(lambda params: jnp.sum(f.apply(params, None, x) ** 2))(params)


def nonzero(tree: Any) -> set[str]:
    return {
        f"{path.split('/')[-1]}/{name}"
        for path, bundle in tree.items()
        for name, leaf in bundle.items()
        if np.any(np.asarray(leaf) != 0)
    }


@pytest.mark.one_in(2)
@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("mode", MODES)
def test_freeze(mode: str, rng_mode: str) -> None:
    f, plain = pair_of(mode, {"**/first": ps.rules.freeze()}, rng_mode)
    params = f.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(KEY, X))
    expected = gradients(plain, params)
    for grads in (gradients(f, params), jax.jit(lambda p: gradients(f, p))(params)):
        assert nonzero(grads) == nonzero(expected) - {"first/w", "first/b"}
    mask = ps.trainable_mask(ps.specs(f)(KEY, X))
    frozen = {name for name in jax.tree.leaves(_names(mask)) if name.startswith("-")}
    assert frozen == {"-first/w", "-first/b"}


def _names(mask: Any) -> Any:
    return [
        f"{'' if leaf else '-'}{path.split('/')[-1]}/{name}"
        for path, bundle in mask.items()
        for name, leaf in bundle.items()
    ]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", MODES)
def test_precision(mode: str) -> None:
    seen: dict[str, Any] = {}

    def watch(next_op: Any, operands: Any, context: Any) -> Any:
        seen[context.path.split("/")[-1]] = operands[0].dtype.name
        return next_op(*operands)

    rules = {
        "**/block": ps.rules.precision("bfloat16", output="float32"),
        "**/norm": ps.rules.precision("float32", output="bfloat16"),
    }
    f, plain = pair_of(mode, rules)
    params = f.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(KEY, X))
    with ps.intercept_ops(watch):
        out = f.apply(params, None, X)
    assert seen == {"norm": "float32", "first": "bfloat16", "second": "bfloat16"}
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, plain.apply(params, None, X), rtol=0.1, atol=0.1)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", MODES)
def test_ops(mode: str) -> None:
    def twice(next_op: Any, operands: Any, context: Any) -> Any:
        return 2 * next_op(*operands)

    f, plain = pair_of(mode, {"**/second": ps.rules.ops(dot=twice)})
    params = plain.init(KEY, X)
    doubled = {
        path: {
            name: 2 * leaf if path.endswith("second") and name == "w" else leaf
            for name, leaf in bundle.items()
        }
        for path, bundle in params.items()
    }
    expected = plain.apply(doubled, None, X)
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_axes(mode: str) -> None:
    f, _ = pair_of(mode, {"**/first": ps.rules.axes(w=("embed", "mlp"))})
    specs = ps.specs(f)(KEY, X)
    for path, bundle in specs.items():
        for name, spec in bundle.items():
            if path.endswith("first") and name == "w":
                assert spec.axes is not None
                assert spec.axes[-2:] == ("embed", "mlp")
            else:
                assert spec.axes is None


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "cond"])
def test_remat(mode: str) -> None:
    f, plain = pair_of(mode, {"**/block": ps.rules.remat()})
    params = f.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(KEY, X))

    def loss(params: Any) -> Any:
        return jnp.sum(f.apply(params, None, X) ** 2)

    def parts(f: Any) -> int:
        total = lambda params: jnp.sum(f.apply(params, None, X) ** 2)
        return len(
            re.findall(r"= (?:remat\w*|checkpoint)\[", str(jax.make_jaxpr(jax.grad(total))(params)))
        )

    assert parts(f) > parts(plain)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        jax.grad(loss)(params),
        gradients(plain, params),
    )


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "cond"])
def test_lora(mode: str) -> None:
    f, plain = pair_of(mode, {"**/first": ps.rules.lora(rank=2)})
    params = f.init(KEY, X)
    base = plain.init(KEY, X)
    assert {path for path, bundle in params.items() if "lora_a" in bundle} == {
        path for path in base if path.endswith("first")
    }
    jax.tree.map(
        np.testing.assert_array_equal,
        base,
        {path: {name: params[path][name] for name in bundle} for path, bundle in base.items()},
    )


FITS = [
    ("encoder/**", "encoder", True),
    ("encoder/**", "encoder/linear", True),
    ("encoder/**", "encoder/~/a/b", True),
    ("encoder/**", "my_encoder", False),
    ("**/linear*", "linear", True),
    ("**/linear*", "mlp/~/linear_0", True),
    ("**/linear*", "mlp/linear/norm", False),
    ("**/attention/*", "block/attention/query", True),
    ("**/attention/*", "attention", False),
    ("transformer/block_*", "transformer/block_0", True),
    ("transformer/block_*", "transformer/block_0/mlp", False),
    ("transformer/block_[01]", "transformer/block_1", True),
    ("transformer/block_[!01]", "transformer/block_1", False),
    ("transformer/block_?", "transformer/block_10", False),
    ("mlp/linear_0", "mlp/~/linear_0", True),
    ("mlp/~/linear_0", "mlp/linear_0", True),
    ("**", "a/b", True),
    ("*", "a/b", False),
    ("a.b", "axb", False),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), FITS)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert fits(pattern, path) is expected


def two(x: Any) -> Any:
    return ps.Linear(2, name="head")(ps.nets.MLP([3, 4], name="encoder")(x))


def test_the_nearest_rule_counts() -> None:
    rules = {"encoder": ps.rules.freeze(), "encoder/linear_1": ps.rules.freeze(False)}
    f = ps.transform(ps.configured(two, rules))
    params = f.init(KEY, X)
    grads = gradients(f, params)
    assert {path for path, bundle in grads.items() if np.any(bundle["w"] != 0)} == {
        "encoder/~/linear_1",
        "head",
    }


WRONG = {
    "no module": ({"**/liner": ps.rules.freeze()}, "No module fits the pattern '\\*\\*/liner'"),
    "clash": (
        {"head": ps.rules.freeze(), "h*": ps.rules.freeze(False)},
        "Two rules for 'head' clash",
    ),
    "no parameter": ({"head": ps.rules.axes(kernel=("a", "b"))}, "has changed nothing"),
    "no operation": ({"head": ps.rules.ops(attention="float32")}, "has changed nothing"),
    "other axes": ({"head": ps.rules.axes(w=("a",))}, "its axes are named"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_an_error(name: str) -> None:
    rules, message = WRONG[name]
    f = ps.transform(ps.configured(two, rules))
    run = ps.specs(f) if name == "other axes" else f.init
    with pytest.raises(ValueError, match=message):
        run(KEY, X)


TYPO = {"**/liner": ps.rules.freeze()}


def test_a_typo_is_an_error_for_params_from_elsewhere() -> None:
    params = ps.transform(two).init(KEY, X)
    for run in (lambda f: f.apply, lambda f: jax.jit(f.apply)):
        f = ps.transform(ps.configured(two, TYPO))
        with pytest.raises(ValueError, match=r"No module fits the pattern '\*\*/liner'.*Near it"):
            run(f)(params, None, X)


class Parts(ps.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = ps.Linear(2, name="one")
        self.two = ps.Linear(2, name="two")

    def __call__(self, x: Any, both: bool) -> Any:
        out = self.one(x)
        return ps.Flatten(name="flat")(self.two(out)) if both else out


def test_apply_may_run_a_part() -> None:
    """A pattern of a module with variables that does not run is right; one without needs `init`."""
    plain = ps.transform(lambda x, both: Parts()(x, both))
    params = plain.init(KEY, X, True)
    f = ps.transform(ps.configured(lambda x, both: Parts()(x, both), {"**/two": ps.rules.freeze()}))
    assert f.apply(params, None, X, False).shape == (2, 2)
    net = ps.configured(
        lambda x, both: Parts()(x, both), {"**/flat": ps.rules.precision("float32")}
    )
    with pytest.raises(ValueError, match=r"run `init` or `ps.explain_rules` of this function once"):
        ps.transform(net).apply(params, None, X, False)
    explained = ps.explain_rules(net)(KEY, jax.ShapeDtypeStruct(X.shape, X.dtype), True)
    assert [entry.module for entry in explained] == ["parts/flat"]
    assert ps.transform(net).apply(params, None, X, False).shape == (2, 2)


def half(next_op: Any, operands: Any, context: Any) -> Any:
    return 0.5 * next_op(*operands)


EVERY_RULE = {
    "encoder/**": [ps.rules.freeze(), ps.rules.lora(rank=2, alpha=4.0)],
    "encoder": [ps.rules.precision("bfloat16", output="float32"), ps.rules.remat("dots_saveable")],
    "head": [
        ps.rules.axes(w=("embed", None)),
        ps.rules.ops(dot=half, normalize="float32"),
        ps.rules.out_sharding(jax.P(("data", "model"), None)),
    ],
}


@pytest.mark.parametrize("kind", ["data", "json", "toml"])
def test_rules_are_data(kind: str, tmp_path: Any) -> None:
    if kind == "data":
        loaded = ps.rules.from_data(ps.rules.to_data(EVERY_RULE))
    elif kind == "json":
        ps.rules.save(tmp_path / "rules.json", EVERY_RULE)
        loaded = ps.rules.load(tmp_path / "rules.json")
    else:
        name = f"{__name__}:half"
        text = f"""
            [["encoder/**"]]
            rule = "freeze"
            [["encoder/**"]]
            rule = "lora"
            rank = 2
            alpha = 4.0
            [[encoder]]
            rule = "precision"
            compute = "bfloat16"
            output = "float32"
            [[encoder]]
            rule = "remat"
            policy = "dots_saveable"
            [[head]]
            rule = "axes"
            w = ["embed", "?"]
            [[head]]
            rule = "ops"
            dot = {{function = "{name}"}}
            normalize = "float32"
            [[head]]
            rule = "out_sharding"
            spec = [["data", "model"], "?"]
        """
        (tmp_path / "rules.toml").write_text(text)
        loaded = ps.rules.load(tmp_path / "rules.toml")
    expected = {pattern: tuple(rules) for pattern, rules in EVERY_RULE.items()}
    if kind == "toml":  # which has no null
        expected["head"] = (
            ps.rules.axes(w=("embed", "?")),
            expected["head"][1],
            ps.rules.out_sharding(jax.P(("data", "model"), "?")),
        )
    assert loaded == expected
    assert repr(loaded) == repr(expected)


def test_explain_rules_lists_each_module() -> None:
    rules = {"encoder": [ps.rules.freeze(), ps.rules.remat()], "head": ps.rules.ops(dot=half)}
    net = ps.configured(two, rules)
    for f in (net, ps.transform(net), ps.transform_with_state(net)):
        table = ps.explain_rules(f)(KEY, jax.ShapeDtypeStruct((2, 4), jnp.float32))
        assert [(row.module, row.rule, row.pattern) for row in table] == [
            ("encoder", "freeze()", "encoder"),
            ("encoder", "remat()", "encoder"),
            ("encoder/~/linear_0", "freeze()", "encoder"),
            ("encoder/~/linear_1", "freeze()", "encoder"),
            ("head", "ops(dot=half)", "head"),
        ]
        assert "encoder/~/linear_0  Linear  freeze()" in repr(table)
