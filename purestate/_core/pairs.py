"""Pairs of pure functions, `init` and `apply`, and the record of what they were made from."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

import jax
from jax.typing import ArrayLike

from purestate._core.collection import Bundle
from purestate._core.errors import ArgumentError
from purestate._core.frame import ambient
from purestate._core.signatures import signature_of, signature_with
from purestate._core.tracebacks import without_our_frames

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
I = TypeVar("I", covariant=True)  # noqa: E741 (the type of `init`)
A = TypeVar("A", covariant=True)  # the type of `apply`

Params = Mapping[str, Mapping[str, jax.Array]]
State = Mapping[str, Mapping[str, jax.Array]]
MutableParams = dict[str, dict[str, jax.Array]]
MutableState = Bundle
Rng = jax.Array | int | Mapping[str, jax.Array | int] | None
GivenParams = Mapping[str, Mapping[str, ArrayLike]] | None
"""What `apply` takes as params: numpy's arrays will do, and None for no parameters."""

GivenState = Mapping[str, Mapping[str, Any]] | None
"""What `apply` takes as state. A value may be any pytree."""

if (
    TYPE_CHECKING
):  # the types of `init` and `apply`, which have the arguments of the user's function

    class Init(Protocol[P]):
        def __call__(self, rng: Rng, *args: P.args, **kwargs: P.kwargs) -> MutableParams: ...

    class InitWithState(Protocol[P]):
        def __call__(
            self, rng: Rng, *args: P.args, **kwargs: P.kwargs
        ) -> tuple[MutableParams, MutableState]: ...

    class Apply(Protocol[P, R_co]):
        def __call__(
            self, params: GivenParams, rng: Rng, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

    class ApplyWithState(Protocol[P, R_co]):
        def __call__(
            self,
            params: GivenParams,
            state: GivenState,
            rng: Rng,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> tuple[R_co, MutableState]: ...

    class CallableModule(Protocol[P, R_co]):
        # A class of these is itself a function: it is made without arguments, and called.
        module_name: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """What a pair was made from.

    Attributes:
      function: the user's function, or class of modules.
      body: the function that a frame runs. It is `function`, unless that is a class.
      rng_mode: "sequence" or "path".
      strict: whether `apply` checks its arguments first.
    """

    function: Any
    body: Callable[..., Any]
    rng_mode: str = "sequence"
    strict: bool = False


class PureFunction(abc.ABC):
    """`init` or `apply` of a transformed function: pure, and pickled if the function can be.

    Attributes:
      program: what it was made from.
      original_function: the user's function.
    """

    program: Program
    role = "apply"
    leading: tuple[str, ...] = ()
    about = ""

    def __init__(self, *made_from: Any):
        # One that wraps another function was made from the same program.
        self._made_from = made_from
        given: Any = made_from[0]
        program = given if isinstance(given, Program) else getattr(given, "program", None)
        self.program = program if program is not None else Program(made_from[0], made_from[0])
        function = self.program.function
        self.__name__ = self.__qualname__ = f"{model_name(function)}_{self.role}"
        self.__module__ = getattr(function, "__module__", None) or __name__
        # JAX's logs of retracing show the file and line of the wrapped function.
        self.__wrapped__ = function
        self.__doc__ = self._help()

    def _help(self) -> str:
        arguments = ", ".join((*self.leading, "*args", "**kwargs"))
        own = getattr(self.program.function, "__doc__", None)
        lines = (
            f"{self.role}({arguments}) of {model_name(self.program.function)!r}.\n\n{self.about}"
        )
        return f"{lines}\n\n{own}" if isinstance(own, str) and own.strip() else lines

    @property
    def original_function(self) -> Any:
        """The user's function."""
        return self.program.function

    @property
    def __signature__(self) -> Any:
        return signature_with(self.leading, self.program.body, self._returns, self._keywords)

    _returns: Callable[[Any], Any] = staticmethod(lambda out: out)
    _keywords: Mapping[str, Any] = {}

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._run(*args, **kwargs)
        except Exception as error:
            if ambient.get()[0]:  # the outermost run does it for all
                raise
            raise without_our_frames(error)  # noqa: B904 (the same error)

    @abc.abstractmethod
    def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function in a frame."""

    def __reduce__(self) -> Any:
        return type(self), self._made_from

    def __repr__(self) -> str:
        return f"<{self.__name__}({', '.join(signature_of(self).parameters)})>"


def model_name(function: Any) -> str:
    """Returns a name for a function that is also an identifier, for programs made from it."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


class Transformed(NamedTuple, Generic[I, A]):
    """A pure pair without state; see `transform`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> params`.
      apply: `apply(params, rng, *args, **kwargs) -> out`.
    """

    init: I
    apply: A

    def __repr__(self) -> str:
        return repr_pair(self)

    if not TYPE_CHECKING:  # so that type checkers refuse the call too

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise called_pair(self, "params = f.init(rng, ...)", "f.apply(params, rng, ...)")


class TransformedWithState(NamedTuple, Generic[I, A]):
    """A pure pair with state; see `transform_with_state`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> (params, state)`.
      apply: `apply(params, state, rng, *args, **kwargs) -> (out, state)`.
    """

    init: I
    apply: A

    def __repr__(self) -> str:
        return repr_pair(self)

    if not TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise called_pair(
                self, "params, state = f.init(rng, ...)", "f.apply(params, state, rng, ...)"
            )


def called_pair(pair: Any, init: str, apply: str) -> ArgumentError:
    """The error for a pair that is called as if it were the function it was made of."""
    return ArgumentError(
        f"{pair!r} is a pair of functions and cannot be called itself. `{init}` creates the"
        f" variables, and `{apply}` runs the function. `rng` is a key, jax.random.key(0)."
    )


def repr_pair(pair: Any) -> str:
    """Shows a pair by the names of its functions."""
    names = {name: getattr(f, "__name__", f) for name, f in pair._asdict().items()}
    return f"{type(pair).__name__}({', '.join(f'{name}={f}' for name, f in names.items())})"


def program_of(f: Any) -> Program | None:
    """Returns what a pair, or one of its functions, was made from; None if it is not ours."""
    if hasattr(f, "init") and hasattr(f, "apply"):
        f = f.init
    return getattr(f, "program", None)


def original_function(f: Any) -> Any:
    """Returns the function that a pair, or one of its functions, was made from."""
    program = program_of(f)
    return f if program is None else program.function
