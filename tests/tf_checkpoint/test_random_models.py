"""Random models are restored rightly, with a warning or with an error, and never silently wrong."""

import collections
import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import purestate as ps
import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError
from purestate._tf_checkpoint.bundle import open_bundle
from purestate._tf_checkpoint.matching import match
from purestate._tf_checkpoint.object_graph import read_graph
from purestate._tf_checkpoint.targets import Targets
from tests.tf_checkpoint import random_models

Place = tuple[bool, str, str]
Bundles = dict[str, dict[str, np.ndarray]]


def places_inside(seed: int, is_plain: bool) -> list[Place]:
    """Returns where a transformed function has each variable."""
    places: list[Place] = []

    def run() -> None:
        _, variables = random_models.build(seed, is_plain)
        places.extend((variable.trainable, *variable.path) for variable in variables)

    ps.transform_with_state(run).init(None)
    return places


def bundles(places: list[Place], values: list[np.ndarray]) -> tuple[Bundles, Bundles]:
    params: Bundles = {}
    state: Bundles = {}
    for (trainable, module, name), value in zip(places, values, strict=True):
        (params if trainable else state).setdefault(module, {})[name] = value
    return params, state


def told(run: Any) -> str:
    """Returns "right", "warned", "warned, wrong" or "error"; raises if it is silently wrong."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            is_right = run()
        except CheckpointError as error:
            assert "Pass `attributes`" in str(error)
            assert not caught
            return "error"
    if not caught:
        assert is_right
        return "right"
    assert [each.category for each in caught] == [ps.errors.UnverifiedWarning]
    return "warned" if is_right else "warned, wrong"


def check(seed: int, prefix: str, tally: collections.Counter[Any], is_plain: bool = False) -> None:
    net, variables = random_models.build(seed, is_plain)
    graph, which = random_models.graph_of(net, variables)
    shapes = [tuple(variable.shape) for variable in variables]
    values = [np.full(shape, i + 1, np.float32) for i, shape in enumerate(shapes)]
    random_models.write(prefix, graph, {at: values[i] for at, i in which.items()})
    held = set(which.values())
    for kind, all_places in (
        ("outside", [(v.trainable, *v.path) for v in variables]),
        ("inside", places_inside(seed, is_plain)),
    ):
        places = [place for i, place in enumerate(all_places) if i in held]
        expected = bundles(places, [values[i] for i in sorted(held)])
        blank = bundles(places, [np.zeros_like(values[i]) for i in sorted(held)])

        def restored(
            expected: Any = expected, blank: Any = blank, prefix: str = prefix, **options: Any
        ) -> bool:
            read = checkpoint.restore(prefix, *blank, **options)
            return all(
                np.array_equal(one[module][name], x)
                for one, other in zip(read, expected, strict=True)
                for module, named in other.items()
                for name, x in named.items()
            )

        def only_params(
            blank: Any = blank, all_places: list[Place] = all_places, prefix: str = prefix
        ) -> bool:
            bundle = open_bundle(prefix)
            targets = Targets(blank[0], {})
            read = read_graph(bundle)
            found = match(bundle, read, "model", targets, None, only_given=True)
            return all(
                all_places[which[at]] == (True, target.module, target.name)
                for at, target in found.items()
            )

        tally[kind, told(restored)] += 1
        tally[kind, "params", told(only_params)] += 1
        where = {path: all_places[which[at]][1:] for path, at in graph.variables(1)}
        assert restored(attributes=where), seed
        if seed % 4 == 0:  # a new checkpoint has names with numbers, so all is certain
            checkpoint.save(prefix + "-new", *expected, attributes=where)
            assert restored(prefix=prefix + "-new"), seed


def tallied(seeds: range, folder: Path, is_plain: bool = False) -> collections.Counter[Any]:
    tally: collections.Counter[Any] = collections.Counter()
    for seed in seeds:
        check(seed, str(folder / "ckpt"), tally, is_plain)
        if seed % 50 == 0:
            gc.collect()  # the names of modules outside are free again
    return tally


RARE = (pytest.mark.slow, pytest.mark.rare)


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 60), pytest.param(60, 300, marks=pytest.mark.slow), pytest.param(360, 840, marks=RARE)],
)
def test_never_silently_wrong(first: int, count: int, tmp_path: Path):
    tally = tallied(range(first, first + count), tmp_path)
    for kind in ("outside", "inside"):
        assert tally[kind, "right"] > count / 5 < tally[kind, "error"], tally
        assert tally[kind, "params", "right"] > count / 10, tally


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 30), pytest.param(30, 100, marks=pytest.mark.slow), pytest.param(130, 270, marks=RARE)],
)
def test_plain_models_are_right(first: int, count: int, tmp_path: Path):
    """Each module holds what it makes, in order. Only variables in dicts may be an error."""
    tally = tallied(range(first, first + count), tmp_path, is_plain=True)
    for kind in ("outside", "inside"):
        assert tally[kind, "warned"] > count / 5 < tally[kind, "right"], tally
        assert tally[kind, "error"] < count / 10, tally
        for key in ((kind, "warned, wrong"), (kind, "params", "warned, wrong")):
            assert not tally[key], tally
