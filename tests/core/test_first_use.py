"""`on_first_use`: a package imports what few programs need when it is first used."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a heavy module, which is not imported yet."""
    root = tmp_path / "lazy_package"
    root.mkdir()
    (root / "__init__.py").write_text(
        textwrap.dedent(
            """
            from purestate._core.first_use import on_first_use
            light = 1
            __getattr__ = on_first_use(__name__, {".heavy": "question answer"}, "heavy other")
            """
        )
    )
    (root / "heavy.py").write_text("answer, question = 42, None\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_package  # pyright: ignore[reportMissingImports]

    yield lazy_package
    for name in ("lazy_package", "lazy_package.heavy"):
        sys.modules.pop(name, None)


def test_a_name_is_imported_when_it_is_used(package):
    assert {"light", "answer", "heavy"} <= set(dir(package))
    assert "lazy_package.heavy" not in sys.modules
    assert package.answer == 42
    assert package.heavy is sys.modules["lazy_package.heavy"]
    assert vars(package)["answer"] == 42  # so that the next use is a plain one


def test_from_import(package):
    from lazy_package import answer, heavy  # pyright: ignore[reportMissingImports]

    assert (answer, heavy.answer) == (42, 42)


def test_an_unknown_name_is_worded_as_python_does(package):
    with pytest.raises(AttributeError) as ours:
        package.anwser  # noqa: B018
    plain = type(sys)("lazy_package")
    with pytest.raises(AttributeError) as pythons:
        plain.anwser  # noqa: B018
    assert str(ours.value) == str(pythons.value)
    assert (ours.value.name, ours.value.obj) == ("anwser", package)


def test_import_of_purestate_leaves_out_what_few_programs_need():
    code = """
    import sys, jax, numpy
    before = set(sys.modules)
    import purestate
    print({m.partition(".")[0] for m in set(sys.modules) - before} - {"purestate"}, end="")
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    few = {"difflib", "flax", "haiku", "jmp", "optax", "pprint", "tabulate", "tree"}
    assert not eval(found.stdout) & few, found.stdout
