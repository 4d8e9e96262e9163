"""What a module may hold: the fields of MLAX's manual, those that are not ok among them.

MLAX lets all of them pass, and fails later on. Here a variable that is no array is an error where
it is made. Run: python examples/state/fields.py
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

import purestate as ps


class Foo(ps.Module):
    """Holds nothing."""


class Bar(ps.Module):
    """Holds all that is ok."""

    a = ps.param_attr(init=jnp.ones((3, 4)))
    b = ps.param_attr(init=np.ones([1, 2, 3]), trainable=False)
    e = ps.state_attr(init=jnp.ones((3, 4)))

    def __init__(self):
        super().__init__()
        self.h = ps.Container([Foo(), Foo()])
        self.j = Foo()
        self.k = "abc"
        self.l = 1
        self.m = [1, 2, 3]

    def __call__(self) -> Any:
        return self.a, self.b, self.e


NOT_OK = {
    "c": ps.param_attr(init="abc"),
    "d": ps.param_attr(init=Foo),
    "f": ps.state_attr(init="abc"),
    "g": ps.state_attr(init=Foo),
}


def refused(make: Any) -> str:
    try:
        make()
    except TypeError as error:
        return str(error).split(". ")[0]
    return "ok"


def main() -> None:
    f = ps.transform_with_state(lambda: Bar()())
    params, state = f.init(None)
    for letter, array in {**params["bar"], **state["bar"]}.items():
        print(letter, "ok", array.shape, array.dtype)
    print("trained:", ps.trainable_mask(ps.specs(f)(None))["bar"])
    for letter, field in NOT_OK.items():
        bar: Any = type(
            "Bar",
            (ps.Module,),
            {letter: field, "__call__": lambda self, letter=letter: getattr(self, letter)},
        )
        print(letter, refused(lambda bar=bar: ps.transform_with_state(lambda: bar()()).init(None)))
    print("i", refused(lambda: ps.Container("abc")))
    print("m", refused(lambda: ps.bind(Bar, params, state)))
    print("m, strict", refused(lambda: ps.bind(Bar, params, state, strict=True)))


if __name__ == "__main__":
    main()
