"""Rules in files: as JSON or TOML."""

import importlib
import json
import os
import pathlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.sharding import PartitionSpec

from purestate._core.errors import kind_of
from purestate._rules import rule as rule_file
from purestate._rules.errors import RuleError
from purestate._rules.rule import Rule
from purestate._rules.rule_book import RuleBook

_KINDS: dict[str, Callable[..., Rule]] = {
    make.__name__: make
    for make in (
        rule_file.axes,
        rule_file.fp8_training,
        rule_file.freeze,
        rule_file.lora,
        rule_file.ops,
        rule_file.out_sharding,
        rule_file.precision,
        rule_file.quantize,
        rule_file.remat,
    )
}


def to_data(rules: Mapping[str, Rule | Sequence[Rule]]) -> dict[str, list[dict[str, Any]]]:
    """Returns rules as dicts, lists, strings and numbers, as they go into a file.

    >>> import purestate as ps
    >>> ps.rules.to_data({"encoder/**": ps.rules.freeze()})
    {'encoder/**': [{'rule': 'freeze'}]}

    Args:
      rules: {pattern: a rule or several}.

    Returns:
      A dict that `from_data` makes equal rules of.

    Raises:
      RuleError: a function in them cannot be found by its name.
    """
    return {
        pattern: [
            {"rule": one.kind} | {name: _plain(name, value) for name, value in one.options.items()}
            for one in several
        ]
        for pattern, several in RuleBook(rules).rules.items()
    }


def from_data(data: Mapping[str, Any]) -> dict[str, tuple[Rule, ...]]:
    """Returns the rules that `to_data` made data of.

    >>> import purestate as ps
    >>> ps.rules.from_data({"encoder/**": [{"rule": "freeze"}]})
    {'encoder/**': (ps.rules.freeze(),)}

    Args:
      data: {pattern: list of dicts, each with the name of its rule and its options}.

    Returns:
      {pattern: rules}.

    Raises:
      RuleError: a rule is unknown, or does not take these options.
    """
    found: dict[str, tuple[Rule, ...]] = {}
    for pattern, several in data.items():
        listed = [several] if isinstance(several, Mapping) else several
        found[pattern] = tuple(_rule(pattern, one) for one in listed)
    return RuleBook(found).rules


def load(path: str | os.PathLike[str]) -> dict[str, tuple[Rule, ...]]:
    """Reads rules from a TOML or JSON file. In TOML: `[["encoder/**"]]`, then `rule = "freeze"`.

    Args:
      path: of a file whose name ends in `.toml` or `.json`.

    Returns:
      {pattern: rules}.

    Raises:
      RuleError: the file is neither, or holds something else.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8")
    try:
        data = tomllib.loads(text) if str(path).endswith(".toml") else json.loads(text)
    except ValueError as error:
        raise RuleError(f"{os.fspath(path)!r} is not a TOML or JSON file: {error}") from error
    if not isinstance(data, Mapping):
        raise RuleError(
            f"{os.fspath(path)!r} must hold {{pattern: rules}}, but holds {kind_of(data)}."
        )
    return from_data(data)  # pyright: ignore[reportUnknownArgumentType]


def save(path: str | os.PathLike[str], rules: Mapping[str, Rule | Sequence[Rule]]) -> None:
    """Writes rules into a JSON file.

    Args:
      path: of the file.
      rules: {pattern: a rule or several}.

    Raises:
      RuleError: a function in them cannot be found by its name.
    """
    text = json.dumps(to_data(rules), indent=2) + "\n"
    pathlib.Path(path).write_text(text, encoding="utf-8")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, (PartitionSpec, tuple, list)):
        parts: Sequence[Any] = tuple(value)
        return [_plain(name, part) for part in parts]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module and qualname and _named(f"{module}:{qualname}") is value:
        return {"function": f"{module}:{qualname}"}
    raise RuleError(
        f"The option {name!r} of a rule, {qualname or repr(value)}, cannot go into a file. A"
        " function can, if it is defined at the top of a module, so that it is found by its name."
    )


def _named(name: str) -> Any:
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _rule(pattern: str, data: Any) -> Rule:
    if not isinstance(data, Mapping) or data.get("rule") not in _KINDS:  # pyright: ignore
        raise RuleError(
            f"For {pattern!r} a list of rules is needed, such as"
            f" {{'rule': 'freeze'}}, with one of {', '.join(_KINDS)}; got {data!r}."
        )
    given: Mapping[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    options = {name: _loaded(value) for name, value in given.items() if name != "rule"}
    try:
        return _KINDS[given["rule"]](**options)
    except TypeError as error:
        raise RuleError(
            f"The rule {data!r} for {pattern!r} has options that it does not take: {error}."
        ) from error


def _loaded(value: Any) -> Any:
    if isinstance(value, Mapping) and "function" in value:
        found = _named(value["function"])
        if found is None:
            raise RuleError(
                f"The rules need the function {value['function']!r}, which is not found: it is"
                " 'module:name', and the module must be one that can be imported."
            )
        return found
    return value  # pyright: ignore[reportUnknownVariableType]
