"""`configured`: a function as before, whose modules follow rules."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from purestate._core.frame import Frame, ambient, get_frame
from purestate._rules.hooks import RulesInForce
from purestate._rules.pattern import parts_of
from purestate._rules.rule import Rule
from purestate._rules.rule_book import RuleBook

_IF_IT_IS_RIGHT = (
    " (`apply` knows the modules that ran, and those with variables. If the pattern is for another"
    " one, run `init` or `ps.explain_rules` of this function once before.)"
)


def _modules_in(frame: Frame) -> Iterator[str]:
    """Yields the paths of modules that have variables, and of the modules around them."""
    for collection in frame.collections.values():
        for path in collection.values:
            parts = parts_of(path)
            yield from ("/".join(parts[:n]) for n in range(1, len(parts) + 1))


class Configured:
    """A function to be transformed, whose modules follow rules; `ps.configured` makes it.

    Attributes:
      rules: {pattern: rules}.
    """

    def __init__(self, f: Callable[..., Any], rules: Mapping[str, Rule | Sequence[Rule]]):
        functools.update_wrapper(self, f, updated=())
        self._function = f
        self._book = RuleBook(rules)
        self._is_checked = False
        self.rules = self._book.rules

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self.book_for_a_run(), *args, **kwargs)

    def book_for_a_run(self) -> RuleBook:
        """Returns the rules, as `run` takes them."""
        return self._book.for_a_run()

    def run(self, book: RuleBook, *args: Any, **kwargs: Any) -> Any:
        """Runs the function; the book knows afterwards which modules have run."""
        frame = get_frame("A function made by `ps.configured`")
        with RulesInForce(book):
            out = self._function(*args, **kwargs)
        if len(ambient.get()[0]) > 1:  # paths begin elsewhere
            return out
        if frame.running_init:
            book.check_all_fit()
            self._is_checked = True
        elif not self._is_checked:
            # `apply` may use a part of the modules, but it was given params of all.
            book.check_patterns(_modules_in(frame), _IF_IT_IS_RIGHT)
        return out

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", repr(self._function))
        return f"ps.configured({name}, {self.rules!r})"


def configured(f: Callable[..., Any], rules: Mapping[str, Rule | Sequence[Rule]]) -> Configured:
    """Returns a function whose modules follow rules; nothing in the modules changes.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     return ps.Linear(2, name="head")(ps.nets.MLP([8, 8], name="encoder")(x))
    >>> rules = {"encoder": [ps.rules.freeze(), ps.rules.precision(jnp.bfloat16)]}
    >>> f = ps.transform(ps.configured(forward, rules))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> grads = jax.grad(lambda params: f.apply(params, None, x).sum())(params)
    >>> sorted(path for path, grad in grads.items() if jnp.any(grad["w"] != 0))
    ['head']

    A pattern is a path in which `*` stands for any characters of one part and `**` for any number
    of parts; `~` does not count. So `"decoder/block_*"` fits the blocks, `"**/linear*"` every
    module whose name begins with `linear`, and `"encoder/**"` the encoder and all in it. A rule
    holds for the modules that fit, and, unless it says otherwise, for those within; a rule for a
    module itself counts more than one for a module around it. In a function that is lifted with
    `ps.lift`, paths begin in that function.

    Args:
      f: the function, to be transformed.
      rules: {pattern: a rule or several}; see `purestate.rules`.

    Returns:
      A function of the same arguments and result.

    Raises:
      RuleError: something else than rules is given; or, when it runs, a pattern fits no module,
        two patterns that fit one module say different things, or, in `init`, a rule changes
        nothing.
    """
    return Configured(f, rules)
