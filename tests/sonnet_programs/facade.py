"""Runs programs in `purestate.sonnet`: outside, compiled, and as pure functions."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt
from tests.sonnet_programs.table import Program, modules, set_start, trained, variables


def clip_by_global_norm(grads: Any, norm: float) -> Any:
    total = jnp.sqrt(sum(jnp.sum(grad**2) for grad in grads))
    return [grad * norm / jnp.maximum(total, norm) for grad in grads]


def softmax_cross_entropy(labels: Any, logits: Any) -> Any:
    return -jnp.sum(labels * jax.nn.log_softmax(logits), -1)


lib = SimpleNamespace(
    snt=snt,
    Variable=snt.Variable,
    value_and_grad=lambda f, variables: snt.value_and_grad(f, variables)(),
    clip_by_global_norm=clip_by_global_norm,
    map_structure=jax.tree.map,
    abs=jnp.abs,
    arange=jnp.arange,
    argmax=lambda x, axis: jnp.argmax(x, axis).astype(jnp.int32),
    band=lambda size: jnp.tril(jnp.ones([size, size])),
    cast=lambda x, dtype: jnp.asarray(x).astype(dtype),
    clip=jnp.clip,
    concat=lambda xs, axis: jnp.concatenate(xs, axis),
    elu=jax.nn.elu,
    exp=jnp.exp,
    float32=jnp.float32,
    gather=lambda x, indices: jnp.take(jnp.asarray(x), indices, axis=0),
    leaky_relu=lambda x: jax.nn.leaky_relu(x, 0.2),
    linspace=lambda a, b, n: jnp.linspace(a, b, n),
    log=jnp.log,
    log_softmax=jax.nn.log_softmax,
    matmul=jnp.matmul,
    max=jnp.max,
    maximum=jnp.maximum,
    mean=jnp.mean,
    minimum=jnp.minimum,
    one_hot=lambda x, n: jax.nn.one_hot(x, n),
    ones=jnp.ones,
    relu=jax.nn.relu,
    reshape=jnp.reshape,
    segment_sum=lambda x, ids, n: jax.ops.segment_sum(x, ids, n),
    sigmoid=jax.nn.sigmoid,
    softmax=jax.nn.softmax,
    softmax_cross_entropy=softmax_cross_entropy,
    softplus=jax.nn.softplus,
    sqrt=jnp.sqrt,
    square=jnp.square,
    stack=lambda xs, axis: jnp.stack(xs, axis),
    stop_gradient=lambda x: jax.lax.stop_gradient(jnp.asarray(x)),
    sum=jnp.sum,
    tanh=jnp.tanh,
    transpose=lambda x, axes=None: jnp.transpose(jnp.asarray(x), axes),
    where=jnp.where,
    zeros=jnp.zeros,
    zeros_like=jnp.zeros_like,
)


class Result:
    """What a run of a program left.

    Attributes:
      losses: `[steps, phases]`.
      described: {part: [(name, shape, trainable)]}.
      values: {part: [array]}.
    """

    def __init__(self, losses: Any, described: Any, values: Any):
        self.losses = np.asarray(losses)
        self.described = described
        self.values = values


def described(program: Program) -> dict[str, list[list[Any]]]:
    return {
        part: [[v.name, list(v.shape), v.trainable] for v in variables(held)]
        for part, held in program.parts.items()
    }


def made(kind: type[Program]) -> Program:
    """Makes a program with variables at their start."""
    program = kind(lib)
    program.create(program.batches()[0])
    set_start(program, lambda variable: variable.dtype.name)
    return program


def run_outside(kind: type[Program], wrap: Any) -> Result:
    """As users of Sonnet write it."""
    program = made(kind)
    program.make_optimizers()
    step = wrap(program.step)
    losses = []
    for number, batch in enumerate(program.batches(), 1):
        program.before(number)
        losses.append([float(loss) for loss in step(batch)])
        program.after(number)
    values = {part: [v.numpy() for v in variables(held)] for part, held in program.parts.items()}
    return Result(losses, described(program), values)


class Pure:
    """A program as a pure function of params and state, `apply(params, state, phase, batch)`."""

    def __init__(self, kind: type[Program], apply: Any, params: Any, state: Any, paths: Any):
        self.program = kind(lib) if apply is None else None
        self.kind, self.apply = kind, apply
        self.params, self.state, self.paths = params, state, paths

    def trees(self, trainable: bool) -> Any:
        return self.params if trainable else self.state

    def value(self, place: Any) -> Any:
        (module, name), trainable = place
        return self.trees(trainable)[module][name]

    def set(self, place: Any, value: Any) -> None:
        (module, name), trainable = place
        tree = self.trees(trainable)
        tree[module] = {**tree[module], name: value}


def train(pure: Pure, facts: Program, optimizer: Any) -> tuple[list[Any], dict[str, list[Any]]]:
    """Trains by pure functions; `optimizer(kind, options)` is an optimizer as of optax."""
    grad = jax.jit(jax.value_and_grad(pure.apply, has_aux=True, argnums=0), static_argnums=2)
    opt_states: dict[str, Any] = {}
    losses = []
    for number, batch in enumerate(facts.batches(), 1):
        row = []
        for phase in facts.phases:
            (loss, new_state), grads = grad(pure.params, pure.state, phase.name, batch)
            pure.state = {**pure.state, **new_state}
            row.append(float(loss))
            if phase.part is None:
                continue
            places = [place for place in pure.paths[phase.part] if place[1]]
            given = [grads[module][name] for (module, name), _ in places]
            if facts.clip is not None:
                given = clip_by_global_norm(given, facts.clip)
            kind, options = facts.optimizers[phase.name]
            rate = options["learning_rate"] * facts.rate(number)
            opt = optimizer(kind, {**options, "learning_rate": rate})
            values = [pure.value(place) for place in places]
            kept = opt_states.get(phase.name)
            values, opt_states[phase.name] = opt(kept, given, values)
            for place, value in zip(places, values, strict=True):
                pure.set(place, value)
        losses.append(row)
        for source, target, tau, period in facts.copies:
            if number % period == 0:
                for to, of in zip(pure.paths[target], pure.paths[source], strict=True):
                    pure.set(to, (1.0 - tau) * pure.value(to) + tau * pure.value(of))
    return losses, {
        part: [np.asarray(pure.value(place)) for place in places]
        for part, places in pure.paths.items()
    }


def as_optax(kind: str, options: Any) -> Any:
    """An optimizer of the facade as a gradient transformation of optax."""
    opt = getattr(snt.optimizers, kind)(**options)

    def step(state: Any, grads: Any, values: Any) -> Any:
        updates, state = opt.update(grads, opt.init(values) if state is None else state, values)
        return [v + u for v, u in zip(values, updates, strict=True)], state

    return step


def as_functional(kind: str, options: Any) -> Any:
    opt = getattr(snt.functional, kind.lower())(**options)

    def step(state: Any, grads: Any, values: Any) -> Any:
        return opt.apply(opt.init(values) if state is None else state, grads, values)

    return step


def run_transformed(kind: type[Program]) -> Result:
    """Modules are made in a function that `ps.transform_with_state` transforms."""
    facts = made(kind)
    found: dict[str, Any] = {}

    def f(phase: str | None, batch: Any) -> Any:
        program = kind(lib)
        if phase is not None:
            return program.loss(phase, batch)
        program.create(batch)
        found["described"] = described(program)
        found["paths"] = {
            part: [(v.path, v.trainable) for v in variables(held)]
            for part, held in program.parts.items()
        }
        return jnp.zeros([])

    pair = ps.transform_with_state(f)
    batch = facts.batches()[0]
    params, state = pair.init(jax.random.key(0), None, batch)
    pure = Pure(
        kind, lambda p, s, phase, batch: pair.apply(p, s, None, phase, batch), params, state,
        found["paths"],
    )  # fmt: skip
    for part, held in facts.parts.items():
        for place, variable in zip(pure.paths[part], variables(held), strict=True):
            pure.set(place, variable.value())
    losses, values = train(pure, facts, as_optax)
    return Result(losses, found["described"], values)


def run_functional(kind: type[Program]) -> Result:
    """Modules are made outside, and a function of them is made pure by `snt.functional`."""
    program = made(kind)
    pairs = {
        phase.name: snt.functional.transform_with_state(
            lambda batch, phase=phase: program.loss(phase.name, batch)
        )
        for phase in program.phases
    }
    params: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for pair in pairs.values():
        for tree, more in zip((params, state), pair.init(program.batches()[0]), strict=True):
            for module, bundle in more.items():
                tree[module] = {**tree.get(module, {}), **bundle}
    paths = {
        part: [(v.path, v.trainable) for v in variables(held)]
        for part, held in program.parts.items()
    }
    for part, held in program.parts.items():
        for place, variable in zip(paths[part], variables(held), strict=True):
            tree = params if place[1] else state
            tree.setdefault(place[0][0], {}).setdefault(place[0][1], variable.value())
    pure = Pure(
        kind, lambda p, s, phase, batch: pairs[phase].apply(p, s, batch), params, state, paths
    )  # fmt: skip
    losses, values = train(pure, program, as_functional)
    before = {part: [v.numpy() for v in variables(held)] for part, held in program.parts.items()}
    for part, arrays in before.items():  # its own variables have not changed
        start = [v.numpy() for v in variables(made(kind).parts[part])]
        for a, b in zip(arrays, start, strict=True):
            np.testing.assert_array_equal(a, b)
    return Result(losses, described(program), values)


WAYS = {
    "eager": lambda kind: run_outside(kind, lambda f: f),
    "snt.function": lambda kind: run_outside(kind, snt.function),
    "transform_with_state": run_transformed,
    "functional": run_functional,
}

__all__ = ["WAYS", "Result", "lib", "made", "modules", "trained"]
