"""The `names` map of the user: which layer of the library is which layer of the model."""

from collections.abc import Iterable, Mapping
from typing import Any

from purestate._convert.errors import ConversionError
from purestate._convert.library import Library, Unit
from purestate._convert.targets import RAW, Target
from purestate._core.errors import kind_of
from purestate._editing.name_patterns import filled, regex_of, wildcards_of
from purestate._editing.paths import near

# The keys are names or tuples of names. A dict with keys of one type would not be of both.
Names = Mapping[Any, str | tuple[str, ...] | None]


def plain(path: str) -> str:
    """Returns a path without the marks of the methods that made the modules."""
    return path.replace("/~/", "/").removeprefix("~/")


def close_to(path: str, paths: Iterable[str]) -> str:
    """Returns the closest paths, in brackets; an empty text if nothing is close."""
    found = near(path, paths).strip(" .")
    return f" ({found[0].lower()}{found[1:]})" if found.startswith("Near it") else ""


class Named:
    """What `names` says.

    Attributes:
      units: the layers of the library; arrays that `names` lists one by one are layers as well.
      targets: likewise, of the model.
      pairs: names of layers of the library, and paths of the model.
      ignored: the layers of the library that `names` maps to None.
      problems: one line each.
    """

    def __init__(
        self, library: Library, units: Mapping[str, Unit], targets: list[Target], names: Any
    ):
        self.units: dict[str, Unit] = dict(units)
        self.targets = {target.path: target for target in targets}
        self.pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.ignored: list[str] = []
        self.problems: list[str] = []
        self._library = library
        self._settled: set[str] = set()
        for old, new in _checked(names).items():
            olds, news = list(_parts(old)), list(_parts(new or ()))
            _check_wildcards(olds, news)
            self._apply(olds, news)

    def _apply(self, olds: list[str], news: list[str]) -> None:
        separator = self._library.separator
        olds = [old.replace(separator, "/") for old in olds]
        regex, any_found = regex_of(olds[0]), False
        for name in list(self.units):
            for single in ("", *self.units[name]):
                full = f"{name}{separator}{single}" if single else name
                match = regex.fullmatch(full.replace(separator, "/"))
                if match is None or name not in self.units:
                    continue
                any_found = True
                if full in self._settled or name in self._settled:
                    continue
                if single:
                    self._take_out(name, single, full)
                others = [filled(old, match) for old in olds]
                self._pair(full, others, [filled(new, match) for new in news])
                if not single:
                    break
        if not any_found:
            known = [name.replace(separator, "/") for name in self.units]
            raise ConversionError(
                f"names: {self._library.weights} has nothing at"
                f" {olds[0].replace('/', separator)!r}.{near(olds[0], known)}"
            )

    def _take_out(self, name: str, single: str, full: str) -> None:
        """Makes one array of a layer a layer of its own."""
        unit = dict(self.units.pop(name))
        self.units[full] = {"": unit.pop(single)}
        if unit:
            self.units[name] = unit

    def _pair(self, name: str, others: list[str], news: list[str]) -> None:
        slashed = {unit.replace(self._library.separator, "/"): unit for unit in self.units}
        names = [name, *(slashed.get(other, "") for other in others[1:])]
        self._settled.update(names)
        if "" in names:
            missing = next(o for o in others if o not in slashed)
            self.problems.append(
                f"names: nothing is called {missing!r}{close_to(missing, slashed)}"
            )
        elif not news:
            self.ignored += names
        else:
            paths = [self._path(new, single="" in self.units[name]) for new in news]
            if None not in paths:
                self._as_variable(name, paths[0])
                self.pairs.append((tuple(names), tuple(path for path in paths if path)))
            else:
                new = news[paths.index(None)]
                there = close_to(new, map(plain, self.targets))
                self.problems.append(
                    f"names: {name!r} becomes {new!r}, which the model does not have{there}"
                )

    def _as_variable(self, name: str, path: str | None) -> None:
        """A layer with one array may be a variable here, as the slopes of a PReLU of torch are."""
        if path and self.targets[path].kind == RAW and len(self.units[name]) == 1:
            (view,) = self.units[name].values()
            self.units[name] = {"": view}

    def _path(self, new: str, *, single: bool) -> str | None:
        """Returns the path of a target, which the user may write without `~`."""
        found = new if new in self.targets else None
        found = found or next((p for p in self.targets if plain(p) == plain(new)), None)
        if found is None and single:  # a variable of a known layer
            for target in list(self.targets.values()):
                fulls = {place.spec.path: place for place in target.variables.values()}
                found = next((p for p in fulls if plain(p) == plain(new)), None)
                if found is not None:
                    del self.targets[target.path]
                    for path, place in fulls.items():
                        self.targets[path] = Target(path, RAW, {place.name: place}, target.module)
                    break
        return found


def _checked(names: Any) -> Mapping[Any, Any]:
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise ConversionError(
            "`names` must be a dict from names to paths, such as {'layer1.*': 'net/block_*'}, but"
            f" is {kind_of(names)}."
        )
    for old, new in names.items():
        several = isinstance(old, tuple) and isinstance(new, tuple)
        for part in (*_parts(old), *_parts(new or ())):
            if not isinstance(part, str) or several:
                wrong = "two tuples" if several else kind_of(part)
                raise ConversionError(
                    "names: each entry is 'name': 'path', 'name': None to leave it out, or has on"
                    f" one side a tuple of those that are joined on the other; but got {wrong}."
                )
    return names


def _parts(side: Any) -> tuple[Any, ...]:
    return side if isinstance(side, tuple) else (side,)


def _check_wildcards(olds: list[str], news: list[str]) -> None:
    for pattern in (*olds[1:], *news):
        here, there = len(wildcards_of(olds[0])), len(wildcards_of(pattern))
        if here != there:
            raise ConversionError(
                f"names: {olds[0]!r} and {pattern!r} differ in their number of wildcards,"
                f" {here} and {there}. Each one on the right stands for the text that the one at"
                " its place on the left matched, so write as many."
            )
