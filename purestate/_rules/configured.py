"""`configured`: a function as before, whose modules follow rules."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from purestate._core.frame import ambient, get_frame
from purestate._rules.hooks import RulesInForce
from purestate._rules.rule import Rule
from purestate._rules.rule_book import RuleBook


class Configured:
    """A function to be transformed, whose modules follow rules; `ps.configured` makes it.

    Attributes:
      rules: {pattern: rules}.
    """

    def __init__(self, f: Callable[..., Any], rules: Mapping[str, Rule | Sequence[Rule]]):
        functools.update_wrapper(self, f, updated=())
        self._function = f
        self.rules = RuleBook(rules).rules

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(RuleBook(self.rules), *args, **kwargs)

    def run(self, book: RuleBook, *args: Any, **kwargs: Any) -> Any:
        """Runs the function; the book knows afterwards which modules have run."""
        frame = get_frame("A function made by `ps.configured`")
        with RulesInForce(book):
            out = self._function(*args, **kwargs)
        # A run may use a part of the modules; `init` makes all of them.
        if frame.running_init and len(ambient.get()[0]) == 1:
            book.check_all_fit()
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
      RuleError: something else than rules is given; or, in `init`, a pattern fits no module, a
        rule changes nothing, or two patterns that fit one module say different things.
    """
    return Configured(f, rules)
