"""Which module gets which rules."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from purestate._core.abstract import eval_shape_of
from purestate._core.errors import kind_of
from purestate._core.transform import transform_with_state
from purestate._rules.configured import Configured
from purestate._rules.errors import RuleError
from purestate._rules.rule_book import Found, told


class ExplainedRule(NamedTuple):
    """One thing that a rule says of a module.

    Attributes:
      module: the path of the module.
      module_class: its class.
      rule: what it says: "freeze()", "ops(attention='float32')".
      pattern: the pattern that the rule stands under.
    """

    module: str
    module_class: type[Any]
    rule: str
    pattern: str


class Explanation:
    """What holds for each module of a function; prints as a table.

    Attributes:
      entries: an `ExplainedRule` for each rule of each module.
      modules: the class of each module that ran, by path.
    """

    def __init__(self, entries: list[ExplainedRule], modules: dict[str, type[Any]]):
        self.entries = entries
        self.modules = modules

    def __iter__(self) -> Iterator[ExplainedRule]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        lines = [("module", "class", "rule", "from")]
        for path, cls in self.modules.items():
            held = [one for one in self.entries if one.module == path]
            lines += [(path, cls.__name__, one.rule, repr(one.pattern)) for one in held]
            if not held:
                lines.append((path, cls.__name__, "-", ""))
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        return "\n".join(
            "  ".join(
                part.ljust(width) for part, width in zip(line, [*widths, 0], strict=True)
            ).rstrip()
            for line in lines
        )


def explain_rules(f: Callable[..., Any]) -> Callable[..., Explanation]:
    """Tells which module of a function gets which rules.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> rules = {"mlp/linear_1": ps.rules.precision(jnp.bfloat16), "mlp": ps.rules.freeze()}
    >>> net = ps.configured(lambda x: ps.nets.MLP([8, 2])(x), rules)
    >>> ps.explain_rules(net)(jax.random.key(0), jnp.ones([1, 3]))
    module          class   rule                           from
    mlp             MLP     freeze()                       'mlp'
    mlp/~/linear_0  Linear  freeze()                       'mlp'
    mlp/~/linear_1  Linear  freeze()                       'mlp'
    mlp/~/linear_1  Linear  precision(compute='bfloat16')  'mlp/linear_1'

    Nothing is computed: the function runs on shapes.

    Args:
      f: what `ps.configured` returned, before or after a transform.

    Returns:
      `explain(rng, *args)`, which takes arrays or `jax.ShapeDtypeStruct`s as `init` does, and
      returns an `Explanation`.

    Raises:
      RuleError: `f` has no rules; and what `configured` raises.
    """
    net = _configured_in(f)

    def explain(rng: Any, *args: Any, **kwargs: Any) -> Explanation:
        book = net.book_for_a_run()
        init = transform_with_state(lambda *args, **kwargs: net.run(book, *args, **kwargs)).init
        eval_shape_of(init, (rng, *args), kwargs)
        found: list[tuple[str, Found]] = [
            (path, one) for path in book.visited for one in book.of_module(path)
        ]
        entries = [
            ExplainedRule(path, book.visited[path], told(one.kind, one.value), one.pattern)
            for path, one in found
        ]
        return Explanation(entries, dict(book.visited))

    return explain


def _configured_in(f: Any) -> Configured:
    seen = f
    while seen is not None:
        if isinstance(seen, Configured):
            return seen
        inner = getattr(seen, "init", None)
        seen = getattr(seen if inner is None else inner, "__wrapped__", None)
    raise RuleError(
        "ps.explain_rules takes what ps.configured(f, rules) returned, or what a transform made of"
        f" it, but got {kind_of(f)}."
    )
