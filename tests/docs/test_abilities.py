"""The table of what purestate has of Treex, MLAX and Flax: no row is missing, each name is there, each yes is shown."""

import abc
import functools
import re
import tempfile
from pathlib import Path

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
from purestate import surgery

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "abilities.md").read_text()

# The numbers of the features on the page; each one exists in Treex, MLAX or Flax.
ROWS = [
    *(7, 87, 88, 94, 100),  # JAX transforms inside
    *(37, 38, 42, 43, 44, 46, 48, 49, 50, 51, 54),  # parameters
    *(55, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 72, 73, 75),  # state and collections
    *(76, 77, 79, 80, 81, 82, 83, 84),  # random numbers
    *(162, 163, 164, 165, 166, 167, 169, 170, 171, 172),  # surgery, filters, views
    *(29, 32, 47, 69, 70, 174, 175, 178, 183, 197, 199, 203),  # tools
    *(89, 101, 109, 114, 120, 121, 132, 158, 184, 185),
]
# Those for which the page says what to use instead.
INSTEAD = [
    8,
    30,
    122,
    130,
    135,
    136,
    137,
    149,
    180,
    181,
    189,
    190,
    191,
    192,
    193,
    194,
    195,
    196,
    204,
    205,
    206,
    212,
]

RNG = jax.random.key(0)
X = jnp.linspace(-1, 1, 12).reshape(4, 3)


def table() -> dict[int, tuple[str, str, str]]:
    """Returns, for each number, the feature, the answer and the names."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert len({number for number, *_ in rows}) == len(rows)
    return {int(number): (feature, answer, names) for number, feature, _, answer, names in rows}


def instead() -> dict[int, str]:
    """Returns, for each number of the table without answers, what to use instead."""
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert len({number for number, *_ in rows}) == len(rows)
    return {int(number): text for number, _, _, text in rows}


def test_all_rows_are_there():
    assert sorted(table()) == sorted(ROWS)
    assert sorted(instead()) == INSTEAD


def test_answers_are_answers():
    assert {answer for _, answer, _ in table().values()} <= {"yes", "partly", "no"}


def _names(text: str) -> list[str]:
    return re.findall(r"\bps((?:\.\w+)+)", text)


def test_every_row_that_says_yes_has_a_name():
    assert [
        number
        for number, (_, answer, names) in table().items()
        if answer == "yes" and not _names(names)
    ] == []


def _exists(name: str) -> bool:
    found = ps
    for part in name.split(".")[1:]:
        if not hasattr(found, part):
            # Attributes of instances are told in the docstring.
            return isinstance(found, type) and f"\n      {part}:" in (found.__doc__ or "")
        found = getattr(found, part)
    return True


@pytest.mark.parametrize(
    "page",
    ["abilities", "state", "surgery", "coming_from_flax", "coming_from_treex", "coming_from_mlax"],
)
def test_every_name_exists(page: str):
    names = _names((DOCS / f"{page}.md").read_text())
    assert names
    assert [f"ps{name}" for name in names if not _exists(name)] == []
    assert not _exists(".nothing_of_this_name")
    assert not _exists(".Model.nothing_of_this_name")


# One function for each row that says yes.


def named_parameter_with_shape_dtype_init():
    params = ps.transform(lambda: ps.get_parameter("w", [2], jnp.float16, jnp.ones)).init(None)
    assert params["~"]["w"].dtype == jnp.float16


def shape_inference():
    assert ps.transform(lambda x: ps.Linear(2)(x)).init(RNG, X)["linear"]["w"].shape == (3, 2)


def trainable_flag():
    f = ps.transform(lambda: ps.get_parameter("w", [], init=jnp.ones, trainable=False))
    assert ps.trainable_mask(ps.specs(f)(None)) == {"~": {"w": False}}
    assert jax.grad(lambda params: f.apply(params, None))(f.init(None))["~"]["w"] == 0


def freeze_a_subtree():
    def forward(x):
        with ps.freeze("mlp/*"):
            x = ps.nets.MLP([4, 3])(x)
        return ps.Linear(1)(x).sum()

    f = ps.transform(forward)
    params, specs = f.init(RNG, X), ps.specs(f)(RNG, X)
    tx = ps.trainable_only(optax.adamw(0.1), specs)
    updates, _ = tx.update(jax.grad(f.apply)(params, None, X), tx.init(params), params)
    new = optax.apply_updates(params, updates)
    assert {name for name in params if (new[name]["w"] != params[name]["w"]).any()} == {"linear"}
    part = ps.bind(f, params).freeze(surgery.glob("mlp/*")).trainable_parameters()
    assert len(jax.tree.leaves(part)) == 2
    assert (
        ps.bind(f, params).freeze().unfreeze().trainable_parameters().params
        == ps.bind(f, params).params
    )


def parameter_as_pytree():
    def forward():
        pair = ps.variable(
            "params", "pair", init=lambda: {"w": jnp.ones([2]), "b": [jnp.zeros([])]}
        ).value
        return pair["w"] + pair["b"][0]

    f = ps.transform(forward)
    params = f.init(None)
    assert len(jax.tree.leaves(params["~"]["pair"])) == 2
    assert f.apply(params, None).tolist() == [1, 1]


def shape_checked_at_apply():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    with pytest.raises(ps.errors.ShapeMismatchError):
        f.apply(f.init(RNG, X), None, X[:, :2])


def missing_parameter():
    with pytest.raises(ps.errors.MissingParameterError):
        ps.transform(lambda x: ps.Linear(2)(x)).apply({}, None, X)


def parameters_updated_in_the_forward_pass():
    f = ps.transform_with_collections(
        lambda: ps.set_parameter("w", ps.get_parameter("w", [], init=jnp.ones, trainable=False) + 1)
    )
    _, updated = f.apply(f.init(None), None, mutable="params")
    assert updated["params"]["~"]["w"] == 2


def metadata():
    f = ps.transform(lambda: ps.get_parameter("w", [2, 3], init=jnp.ones, axes=("embed", "mlp")))
    spec = ps.specs(f)(None)["~"]["w"]
    assert isinstance(spec, ps.Spec)
    assert spec.axes == ("embed", "mlp")


def read_all_params_inside():
    def forward(x):
        ps.Linear(2)(x)
        return ps.data_structures.tree_size(ps.get_params())

    f = ps.transform(forward)
    assert f.apply(f.init(RNG, X), None, X) == 8


def get_and_set_state():
    def forward():
        n = ps.get_state("n", [], init=jnp.zeros)
        ps.set_state("n", n + 1)

    f = ps.transform_with_state(forward)
    assert f.apply(*f.init(None), None)[1]["~"]["n"] == 1


def named_collections():
    f = ps.transform_with_collections(
        lambda: ps.variable("cache", "keys", [2], init=jnp.zeros).value
    )
    assert f.init(None)["cache"]["~"]["keys"].shape == (2,)


def has_variable():
    def forward():
        before = ps.has_variable("cache", "n"), ps.has_parameter("n"), ps.has_state("n")
        ps.variable("cache", "n", [], init=jnp.zeros)
        return before, ps.has_variable("cache", "n")

    f = ps.transform_with_collections(forward)
    assert f.apply({}, None, mutable=True)[0] == ((False, False, False), True)
    assert f.apply(f.init(None), None)[0][0] is True


def _two_collections():
    for name in "a", "b":
        value = ps.variable(name, "n", [], init=jnp.zeros)
        if ps.is_mutable(name):
            value.value += 1


def choice_of_what_may_change():
    f = ps.transform_with_collections(_two_collections)
    variables = f.init(None)
    for mutable, changed in (
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (ps.AllBut("params", "a"), ["b"]),
    ):
        assert sorted(f.apply(variables, None, mutable=mutable)[1]) == changed


def write_to_immutable():
    f = ps.transform_with_collections(lambda: ps.set_variable("a", "n", jnp.zeros([])))
    with pytest.raises(ps.errors.ImmutableCollectionError):
        f.apply({}, None)


def is_mutable():
    f = ps.transform_with_collections(lambda: ps.is_mutable("a"))
    assert (f.apply({}, None), f.apply({}, None, mutable="a")[0]) == (False, True)


def handle_with_value():
    def forward():
        n = ps.variable("state", "n", [], init=jnp.zeros)
        n.value += 1
        return n.value

    f = ps.transform_with_state(forward)
    assert f.apply(*f.init(None), None)[0] == 1


class Count(ps.Module):
    n = ps.state_attr([], jnp.int32, jnp.zeros)
    scale = ps.param_attr([], init=jnp.ones)

    def __call__(self, x):
        self.n += x.shape[0]
        return self.n * self.scale


def attribute_in_place():
    f = ps.transform_with_state(lambda x: Count()(x))
    out, state = jax.jit(f.apply)(*f.init(None, X), None, X)
    assert (float(out), int(state["count"]["n"])) == (4, 4)


def _sows(x):
    h = jnp.tanh(ps.Linear(2)(x))
    ps.sow("h", h)
    return h.sum()


def sow():
    f = ps.transform_with_collections(_sows)
    _, updated = f.apply(f.init(RNG, X), None, X, mutable="intermediates")
    assert updated["intermediates"]["~"]["h"][0].shape == (4, 2)


def capture():
    f = ps.transform(_sows)
    _, found = ps.capture_intermediates(f).apply(f.init(RNG, X), None, X)
    assert jax.tree.map(jnp.shape, found) == {
        "linear": {"__call__": ((4, 2),)},
        "~": {"h": ((4, 2),)},
    }


def perturb():
    f = ps.transform_with_collections(lambda x: (ps.perturb("h", 3 * x) ** 2).sum())
    variables = f.init(None, X)
    grads = jax.grad(lambda p: f.apply({**variables, "perturbations": p}, None, X))(
        variables["perturbations"]
    )
    np.testing.assert_allclose(grads["~"]["h"], 6 * X, rtol=1e-6)


def metrics():
    f = ps.transform_with_state(lambda x: ps.metrics.Mean()(x))
    _, state = f.apply(*f.init(None, X), None, jnp.array([1.0, 2.0, 3.0]))
    assert f.apply({}, state, None, jnp.array([10.0]))[0] == 4

    def evaluate(x, labels):
        both = ps.metrics.MultiMetric(sum=ps.metrics.Sum(), accuracy=ps.metrics.Accuracy())
        return both(sum=x, accuracy=(x, labels))

    f = ps.transform_with_state(evaluate)
    values, _ = f.apply(
        *f.init(None, jnp.array([0]), jnp.array([0])), None, jnp.array([0, 1]), jnp.array([0, 0])
    )
    assert values == {"sum": 1, "accuracy": 0.5}


def losses_and_logs():
    def forward(x):
        for name in "first", "second":
            linear = ps.Linear(3, name=name)
            x = linear(x)
            ps.sow("l2", (ps.get_params()[name]["w"] ** 2).sum(), "losses", reduce=jnp.add)
        return x

    f = ps.transform_with_collections(forward)
    variables = f.init(RNG, X)
    assert "losses" not in variables
    _, updated = f.apply(variables, None, X, mutable="losses")
    wanted = sum((variables["params"][name]["w"] ** 2).sum() for name in ("first", "second"))
    np.testing.assert_allclose(updated["losses"]["~"]["l2"], wanted, rtol=1e-6)


def model_through_jit():
    f = ps.transform_with_state(lambda x: Count()(x))
    model = ps.bind(f, *f.init(None, X))

    @jax.jit
    def step(model, x):
        return model(x), model

    _, new = step(model, X)
    assert (int(model.state["count"]["n"]), int(new.state["count"]["n"])) == (0, 4)


def key_sequence():
    a, b = ps.transform(lambda: (ps.next_rng_key(), ps.next_rng_key())).apply({}, RNG)
    assert a != b


def standalone_key_sequence():
    keys = ps.PRNGSequence(0)
    assert (next(keys) != next(keys)).any()


def other_key():
    def forward():
        with ps.with_rng(jax.random.key(1)):
            return ps.next_rng_key()

    f = ps.transform(forward)
    assert f.apply({}, RNG) == f.apply({}, jax.random.key(2))


def named_streams():
    f = ps.transform(lambda: (ps.next_rng_key("dropout"), ps.next_rng_key("noise")))
    a = f.apply({}, {"dropout": jax.random.key(1), "noise": jax.random.key(2)})
    b = f.apply({}, {"dropout": jax.random.key(1), "noise": jax.random.key(3)})
    assert a[0] == b[0]
    assert a[1] != b[1]
    with pytest.raises(ps.errors.MissingRNGError, match="noise"):
        f.apply({}, {"dropout": RNG})


def asking_for_a_key():
    f = ps.transform(lambda: (ps.has_rng(), ps.has_rng("noise")))
    assert f.apply({}, None) == (False, False)
    assert f.apply({}, {"default": RNG}) == (True, True)
    assert f.apply({}, {"params": RNG}) == (True, False)


def tied_weights():
    def f(ids):
        embed = ps.Embed(5, 3)
        return embed.attend(embed(ids))

    g = ps.transform(f)
    params = g.init(RNG, jnp.array([1, 2]))
    assert list(params) == ["embed"]
    assert g.apply(params, None, jnp.array([1, 2])).shape == (2, 5)


def key_as_state():
    class Dropout(ps.Module):
        key = ps.state_attr(init=lambda: RNG, collection="rng")

        def __call__(self, x):
            key, self.key = jax.random.split(self.key)
            return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)

    f = ps.transform_with_collections(lambda x: Dropout()(x))
    variables = f.init(None, X)
    assert list(variables) == ["params", "rng"]
    _, updated = jax.jit(lambda v: f.apply(v, None, X, mutable="rng"))(variables)
    assert updated["rng"]["dropout"]["key"] == jax.random.split(RNG)[1]


def split_keys_over_an_axis():
    def forward(xs, split):
        return ps.vmap(lambda x: jax.random.normal(ps.next_rng_key()), split_rng=split)(xs)

    f = ps.transform(forward)
    assert [len(set(f.apply({}, RNG, X, split).tolist())) for split in (True, False)] == [4, 1]


def key_by_path():
    def forward(names, x):
        for name in names:
            ps.Linear(2, name=name)(x)

    f = ps.transform(forward, rng_mode="path")
    a, b = f.init(RNG, ["a", "b"], X), f.init(RNG, ["new", "b", "a"], X)
    assert all((a[name]["w"] == b[name]["w"]).all() for name in a)
    g = ps.transform(forward)
    assert (g.init(RNG, ["a", "b"], X)["a"]["w"] != g.init(RNG, ["b", "a"], X)["a"]["w"]).any()


F = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
PARAMS = F.init(RNG, X)


def _same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        (x == y).all() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def filter_by_predicate():
    assert len(jax.tree.leaves(surgery.filter(PARAMS, lambda leaf: leaf.ndim == 2))) == 2
    assert len(jax.tree.leaves(ps.data_structures.filter(lambda m, n, v: n == "w", PARAMS))) == 2
    assert len(jax.tree.leaves(ps.bind(F, PARAMS).filter(surgery.has_ndim(2)))) == 2


def filter_with_path():
    kept = surgery.filter_with_path(PARAMS, lambda path, leaf: path.endswith("linear_1/w"))
    assert [leaf.shape for leaf in jax.tree.leaves(kept)] == [(4, 2)]


def partition_and_combine():
    assert _same(surgery.combine(*surgery.partition(PARAMS, lambda leaf: leaf.ndim == 2)), PARAMS)
    assert _same(surgery.combine(*surgery.partition_with_path(PARAMS, surgery.glob("*/w"))), PARAMS)
    model = ps.bind(F, PARAMS)
    part, rest = model.partition(surgery.has_ndim(2))
    assert _same(rest.update(part).params, PARAMS)


def holes():
    part = surgery.filter(PARAMS, lambda leaf: leaf.ndim == 2)
    assert part["mlp/~/linear_0"]["b"] is None
    assert list(part) == list(PARAMS)


def map_with_names():
    names = ps.data_structures.map(lambda module, name, value: f"{module}/{name}", PARAMS)
    assert names["mlp/~/linear_0"]["w"] == "mlp/~/linear_0/w"
    assert len(list(ps.data_structures.traverse(PARAMS))) == 4


def set_one_leaf():
    new = surgery.at(PARAMS, "mlp/~/linear_1/b").set(jnp.ones([2]))
    assert (new["mlp/~/linear_1"]["b"] == 1).all()
    assert (PARAMS["mlp/~/linear_1"]["b"] == 0).all()


def insert_and_replace_layers():
    def replaced(next_method, args, kwargs, context):
        if context.method_name == "__call__" and context.module.module_name == "mlp/~/linear_1":
            return ps.Linear(5, name="head")(*args)
        return next_method(*args, **kwargs)

    def new(x):
        with ps.intercept_methods(replaced):
            return ps.nets.MLP([4, 2])(x)

    g = ps.transform(new)
    fresh = g.init(RNG, X)
    params, paths = surgery.transplant(PARAMS, fresh, predicate="mlp/~/linear_0/*")
    assert len(paths) == 2
    assert g.apply(params, None, X).shape == (4, 5)
    wide, _ = surgery.insert(PARAMS, "extra/w", jnp.ones([2]))
    assert _same(surgery.delete(wide, "extra")[0], PARAMS)
    assert list(surgery.rename(PARAMS, "mlp", "net")[0]) == ["net/~/linear_0", "net/~/linear_1"]


def submodel():
    outer = ps.transform(lambda x: ps.Linear(1)(ps.nets.MLP([4, 2], name="encoder")(x)))
    params = outer.init(RNG, X)
    encoder = ps.transform(lambda x: ps.nets.MLP([4, 2], name="encoder")(x))
    part, _ = surgery.transplant(params, encoder.init(RNG, X))
    assert _same(part, ps.data_structures.filter(surgery.glob("encoder/*"), params))
    assert encoder.apply(part, None, X).shape == (4, 2)


def mutable_and_immutable_dicts():
    immutable = ps.data_structures.to_immutable_dict(PARAMS)
    assert _same(ps.data_structures.to_mutable_dict(immutable), PARAMS)


def names_in_one_level():
    flat = {
        f"{module}/{name}": value for module, name, value in ps.data_structures.traverse(PARAMS)
    }
    assert sorted(flat) == [f"mlp/~/linear_{i}/{name}" for i in range(2) for name in "bw"]


class Net(ps.Module):
    def __init__(self):
        super().__init__()
        self.encoder = ps.Linear(3, name="encoder")
        self.head = ps.Linear(1, name="head")

    def __call__(self, x):
        return self.head(self.encoder(x))


def _net() -> ps.Model:
    return ps.bind(Net, ps.transform(lambda x: Net()(x)).init(RNG, X))


def modules_as_pytrees():
    model = _net()
    parts = jax.jit(lambda parts: jax.tree.map(lambda p: 2 * p, parts))({"first": model.encoder})
    np.testing.assert_allclose(parts["first"](X), 2 * model.encoder(X), rtol=1e-6)
    np.testing.assert_allclose(model.update(parts["first"])(X), model.head(2 * model.encoder(X)))


def submodules():
    found = ps.transform(lambda: [m.name for m in ps.submodules(Net())]).apply({}, None)
    assert found == ["encoder", "head"]
    assert [part(X).shape for part in ps.submodules(_net())] == [(4, 3), (4, 1)]


def dtype_and_state_checked_on_request():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    params = jax.tree.map(lambda p: p.astype(jnp.float16), f.init(RNG, X))
    assert f.apply(params, None, X).shape == (4, 2)
    with pytest.raises(ps.errors.CheckError, match="has dtype float16"):
        ps.check(f)(params, None, X)

    def grows(x):
        ps.set_state("last", jnp.append(ps.get_state("last", [1], init=jnp.zeros), x))

    lax, strict = (ps.transform_with_state(grows, strict=strict) for strict in (False, True))
    state = {"~": {"last": jnp.zeros([1])}}
    assert lax.apply({}, state, None, 1.0)[1]["~"]["last"].shape == (2,)
    with pytest.raises(ps.errors.CheckError, match="'~/last' is float32"):
        strict.apply({}, state, None, 1.0)


def stale_state():
    f = ps.transform_with_state(lambda x: Count()(x))
    params, state = f.init(None, X)
    with ps.config.context(stale_state="error"):
        f.apply(params, state, None, X)
        with pytest.raises(ps.errors.StaleStateError, match="'count/n'"):
            f.apply(params, state, None, X)


def tree_equality():
    assert surgery.trees_equal(PARAMS, F.init(RNG, X)) is True
    assert not jax.jit(surgery.trees_equal)(PARAMS, F.init(jax.random.key(1), X))


def aliasing():
    assert surgery.aliases({"a": X, "b": [X, RNG]}) == [["a", "b/0"]]


def train_state():
    tx = optax.sgd(0.1)
    train = ps.TrainState.create(F, tx, RNG, X)
    assert len(jax.tree.leaves(train)) == len(jax.tree.leaves(PARAMS)) + 2
    assert train.update(tx, train.params).step == 1


def param_dtype():
    f = ps.transform(lambda x: ps.Linear(2, param_dtype=jnp.float32, name="linear")(x))
    params = f.init(RNG, X.astype(jnp.bfloat16))
    assert params["linear"]["w"].dtype == jnp.float32
    low = ps.configured(lambda x: ps.Linear(2)(x), {"linear": ps.rules.precision("bfloat16")})
    assert ps.transform(low).apply(params, None, X).dtype == jnp.bfloat16
    assert f.apply(params, None, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def saving():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.safetensors"
        ps.checkpoint.save_safetensors(file, PARAMS)
        assert surgery.trees_equal(ps.checkpoint.load_safetensors(file, into=PARAMS), PARAMS)


def export_of_programs():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.zip"
        ps.export(F, PARAMS, None, "float32[b, 3]", path=file)
        out = ps.load_exported(file)(X)
    np.testing.assert_allclose(out, F.apply(PARAMS, None, X), rtol=1e-6)


def error_if():
    def f(x):
        return ps.error_if(x, x > 0, "no value is above 0")

    with pytest.raises(RuntimeError, match="no value is above 0"):
        jax.block_until_ready(jax.jit(f)(X))
    jax.block_until_ready(jax.jit(f)(-jnp.abs(X)))


def output_and_variables():
    out, params = ps.init_with_output(F)(RNG, X)
    assert _same(params, PARAMS)
    np.testing.assert_array_equal(out, F.apply(params, None, X))


def vjp_and_jvp():
    def f(x):
        y, back = ps.vjp(ps.Linear(2, name="a"), x, with_params=True)
        return back(y), ps.jvp(ps.Linear(2, name="b"), (x,), (x,))[1]

    g = ps.transform(f)
    (to_params, to_x), tangent = g.apply(g.init(RNG, X), None, X)
    assert list(to_params) == ["a"]
    assert (to_x.shape, tangent.shape) == (X.shape, (4, 2))


def custom_gradient():
    net = lambda x: ps.Linear(2)(x)
    own = ps.custom_vjp(net)
    own.defvjp(
        lambda x: ps.vjp(net, x, with_params=True), lambda back, g: (back(g)[0], jnp.ones([4, 3]))
    )
    f = ps.transform(lambda x: own(x).sum())
    assert (jax.grad(f.apply, 2)(f.init(RNG, X), None, X) == 1).all()


def loops_that_keep_few_steps():
    def f(x, checkpoint):
        step = lambda x, _: (jnp.tanh(ps.Linear(3)(x)), None)
        return ps.scan(step, x, None, length=100, checkpoint=checkpoint)[0].sum()

    f = ps.transform(f)
    params = f.init(RNG, X, False)
    sizes = []
    for checkpoint in (False, True):
        _, back = jax.vjp(lambda p, c=checkpoint: f.apply(p, None, X, c), params)
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(back)))
    assert sizes[1] < sizes[0] / 5
    loop = lambda x: ps.while_loop(lambda x: x > 1, lambda x: x / 2, x, max_steps=9)
    assert jax.grad(lambda x: ps.transform(loop).apply({}, None, x))(3.0) == 0.25


def mapped_variables():
    transposed = lambda value, context: value.T
    f = ps.transform(lambda x: ps.map_variables(ps.Linear(2), transposed, transposed)(x))
    params = f.init(RNG, X)
    assert params["linear"]["w"].shape == (2, 3)
    assert f.apply(params, None, X).shape == (4, 2)


def second_derivatives():
    f = ps.transform(lambda x: ps.hessian(lambda x: (x**3).sum())(x))
    np.testing.assert_allclose(f.apply({}, None, jnp.array([2.0])), [[12.0]])


def closures():
    def f(x):
        pure, captured = ps.closure_convert(ps.Linear(2), x)
        return pure(x, *captured)

    f = ps.transform(f)
    assert f.apply(f.init(RNG, X), None, X).shape == (4, 2)


def small_layers():
    def f(x):
        x = ps.Residual(ps.Parallel([ps.Linear(3), ps.Scaler()], combine=sum))(x)
        return ps.PReLU()(ps.ConvLocal1D(2, 1)(x[None]))

    f = ps.transform(f)
    assert f.apply(f.init(RNG, X), None, X).shape == (1, 4, 2)


def attention_as_a_function():
    x = jnp.ones([1, 3, 2, 4])
    np.testing.assert_allclose(ps.ops.dot_product_attention(x, x, x, is_causal=True), x, rtol=1e-6)


def loss_scaling():
    tx = ps.mixed_precision.dynamic_loss_scale(optax.sgd(0.1))
    assert ps.mixed_precision.loss_scale(tx.init(PARAMS)) == 2**15


def training_in_float8():
    f = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    with ps.quantize.fp8_training(history=2):
        params, state = f.init(RNG, X)
    assert state["linear"]["quantize_amax_history_w"].shape == (2, 2)


SHOWN_BY = {
    184: training_in_float8,
    89: second_derivatives,
    101: closures,
    109: small_layers,
    114: small_layers,
    120: small_layers,
    121: small_layers,
    132: small_layers,
    158: attention_as_a_function,
    185: loss_scaling,
    29: modules_as_pytrees,
    32: submodules,
    47: dtype_and_state_checked_on_request,
    69: stale_state,
    70: dtype_and_state_checked_on_request,
    174: tree_equality,
    175: aliasing,
    178: train_state,
    183: param_dtype,
    197: saving,
    199: export_of_programs,
    203: error_if,
    7: output_and_variables,
    87: vjp_and_jvp,
    88: custom_gradient,
    94: loops_that_keep_few_steps,
    100: mapped_variables,
    37: named_parameter_with_shape_dtype_init,
    38: shape_inference,
    42: trainable_flag,
    43: freeze_a_subtree,
    44: parameter_as_pytree,
    46: shape_checked_at_apply,
    48: missing_parameter,
    49: parameters_updated_in_the_forward_pass,
    50: metadata,
    51: read_all_params_inside,
    54: tied_weights,
    55: get_and_set_state,
    58: named_collections,
    59: has_variable,
    60: choice_of_what_may_change,
    61: write_to_immutable,
    62: is_mutable,
    63: handle_with_value,
    64: attribute_in_place,
    65: sow,
    66: capture,
    67: perturb,
    72: metrics,
    73: losses_and_logs,
    75: model_through_jit,
    76: key_sequence,
    77: standalone_key_sequence,
    79: other_key,
    80: named_streams,
    81: asking_for_a_key,
    82: key_as_state,
    83: split_keys_over_an_axis,
    84: key_by_path,
    162: filter_by_predicate,
    163: filter_with_path,
    164: partition_and_combine,
    165: holes,
    166: map_with_names,
    167: set_one_leaf,
    169: insert_and_replace_layers,
    170: submodel,
    171: mutable_and_immutable_dicts,
    172: names_in_one_level,
}


@pytest.mark.parametrize(
    "number", SHOWN_BY, ids=lambda number: f"{number}_{SHOWN_BY[number].__name__}"
)
def test_what_is_said_is_so(number):
    SHOWN_BY[number]()


def test_every_yes_is_shown():
    assert {number for number, (_, answer, _) in table().items() if answer == "yes"} <= set(
        SHOWN_BY
    )


def test_shapes_without_computing():
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    shapes = jax.eval_shape(F.init, RNG, shape)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, PARAMS)
    assert ps.specs(F)(RNG, shape)["mlp/~/linear_0"]["w"].shape == (3, 4)
    init = jax.jit(lambda rng: F.init(rng, jnp.zeros(X.shape)))
    assert surgery.trees_equal(init(RNG), PARAMS, rtol=1e-6)
    assert "dot" not in init.lower(RNG).compile().as_text()


def test_abstract_attributes():
    class Base(ps.Module):
        @property
        @abc.abstractmethod
        def size(self) -> int: ...

        def __call__(self, x):
            return ps.Linear(self.size)(x)

    class Made(Base):
        size = 2

    with pytest.raises(TypeError, match="abstract"):
        ps.transform(lambda x: Base()(x)).init(RNG, X)
    assert ps.transform(lambda x: Made()(x)).init(RNG, X)["made/linear"]["w"].shape == (3, 2)


def test_a_layer_of_two_functions():
    def scale(x, is_training):
        return x * (2 if is_training else 1)

    f = ps.transform(lambda x, is_training: ps.to_module(scale)()(x, is_training))
    assert [float(f.apply({}, None, 1.0, mode)) for mode in (True, False)] == [2, 1]


def test_sonnets_tools_are_there():
    from purestate import sonnet

    for number in (130, 135, 137, 149, 196):
        names = re.findall(r"`purestate\.sonnet\.([\w.]+)`", instead()[number])
        assert names
        for name in names:
            assert hasattr(sonnet, name), name
    assert hasattr(sonnet.nets, "Cifar10ConvNet")


def _of_a_recurrent_core(lib, x):
    h = lib.get_state("h", [len(x), 5], init=jnp.zeros)
    out, h = lib.GRU(5)(x, h)
    lib.set_state("h", h)
    return out


def _of_a_window(lib, x):
    window = jnp.concatenate([lib.get_state("window", [0, 3], init=jnp.zeros), x])
    lib.set_state("window", window)
    return window.sum()


def _of_an_average(lib, x):
    return lib.ExponentialMovingAverage(0.9)(x)


def _of_python_numbers(lib, x):
    lib.get_state("n", [], init=jnp.zeros)
    lib.set_state("n", 1)
    return x


@pytest.mark.parametrize(
    "program", [_of_a_recurrent_core, _of_a_window, _of_an_average, _of_python_numbers]
)
def test_state_that_changes_its_shape_as_in_haiku(program):
    pairs = [lib.transform_with_state(functools.partial(program, lib)) for lib in (haiku, ps)]
    params, state = pairs[0].init(RNG, X[:1])
    a, b = (pair.apply(params, state, None, X) for pair in pairs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), a, b)
    shapes = [jax.tree.map(lambda value: getattr(value, "shape", None), s) for s in (state, b[1])]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize(
    ("of_params", "of_input"),
    [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.bfloat16), (jnp.int32, jnp.float32)],
)
def test_params_of_another_dtype_as_in_haiku(of_params, of_input):
    pairs = [lib.transform(lambda x, lib=lib: lib.Linear(2)(x)) for lib in (haiku, ps)]
    params = jax.tree.map(lambda p: (2 * p).astype(of_params), pairs[0].init(RNG, X))
    a, b = (pair.apply(params, None, X.astype(of_input)) for pair in pairs)
    assert surgery.trees_equal(a, b)
