"""The report of `jaxpr_info` as a page of HTML that unfolds."""

from html import escape

from purestate._inspection.jaxpr_info import Expression, Module, format_number


def as_html_page(module: Module, min_flop: int = 1000) -> str:
    """Returns a page of HTML with the tree of a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> info = ps.experimental.jaxpr_info.make_model_info(jnp.tanh)(jnp.ones([2]))
    >>> page = ps.experimental.jaxpr_info.as_html_page(info)
    >>> page.startswith("<!DOCTYPE html>"), "f32[2]" in page
    (True, True)

    Args:
      module: what `make_model_info` returned.
      min_flop: skips expressions with fewer floating point operations, if these were counted.

    Returns:
      The page.
    """
    return f"""\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>{escape(module.name)}</title>
<style>{css()}</style>
<script>{js()}</script>
</head>
<body>
<button onclick="unfoldAll(true)">unfold all</button>
<button onclick="unfoldAll(false)">fold all</button>
<div class="model-info">{as_html(module, min_flop=min_flop)}</div>
</body>
</html>
"""


def as_html(module: Module, min_flop: int = 1000, outvars: str = "", last: bool = False) -> str:
    """Returns the tree of a module as HTML, for a page with `css()` and `js()`.

    Args:
      module: what `make_model_info` returned.
      min_flop: skips expressions with fewer floating point operations, if these were counted.
      outvars: the names of its outputs, which are shown in front of it.
      last: whether it is the last one in its list.

    Returns:
      The HTML.
    """
    sizes = (
        (module.flops, "flops"),
        (module.total_param_size or None, "params"),
        (module.total_state_size or None, "state"),
    )
    numbers = "".join(_number(n, unit) for n, unit in sizes if n is not None)
    outputs = f"{escape(outvars)} = " if outvars else ""
    title = f"{outputs}<b>{escape(module.name)}</b>{numbers}{_variables(module)}"
    head = f'<span class="tooltip-container">{title}</span>'
    shown = [e for e in module.expressions if e.flops is None or e.flops >= min_flop]
    kind = "module last" if last else "module"
    if not shown:
        return f'<div class="{kind}">{head}</div>\n'
    rows = "".join(
        f"<li>{_expression(e, min_flop, last=i == len(shown) - 1)}</li>\n"
        for i, e in enumerate(shown)
    )
    return f'<details class="{kind}"><summary>{head}</summary>\n<ol>\n{rows}</ol>\n</details>\n'


def _number(n: int, unit: str) -> str:
    return f' <span class="number">{format_number(n, unit)}</span>'


def _expression(expression: Expression, min_flop: int, *, last: bool) -> str:
    if expression.submodule is not None:
        return as_html(
            expression.submodule, min_flop=min_flop, outvars=expression.outvars, last=last
        )
    params = "".join(
        f"<div>{escape(key)}: {escape(value)}</div>" for key, value in expression.params.items()
    )
    flops = "" if expression.flops is None else _number(expression.flops, "flops")
    return (
        f'<div class="expression tooltip-container">{escape(expression.outvars)} = <span'
        f' class="primitive">{escape(expression.primitive)}</span>'
        f" {escape(expression.invars)}{flops}<span"
        f' class="tooltip"><div>{escape(expression.details)}</div>{params}</span></div>'
    )


def _variables(module: Module) -> str:
    rows = "".join(
        f'<tr><th colspan="2">{title}</th></tr>'
        + "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(shape)}</td></tr>"
            for name, shape in info.items()
        )
        for title, info in (("Params", module.param_info), ("State", module.state_info))
        if info
    )
    return f'<span class="tooltip"><table>{rows}</table></span>' if rows else ""


def css() -> str:
    """Returns the style sheet of `as_html`.

    Returns:
      CSS.
    """
    return """
.model-info { font-family: monospace; line-height: 1.5; }
.model-info summary { cursor: pointer; }
.model-info ol {
  list-style: none; margin: 0 0 0 0.4em; padding-left: 1.6em; border-left: 1px solid #bbb;
}
.model-info .last > ol { border-left-color: transparent; }
.model-info .number { color: #666; }
.model-info .primitive { color: #3340a8; }
.tooltip-container { position: relative; }
.tooltip-container > .tooltip {
  display: none; position: absolute; left: 4em; top: 1.4em; z-index: 1; width: max-content;
  max-width: 60em; max-height: 30em; overflow: auto; padding: 0.5em; border-radius: 0.4em;
  background: #e8ecff; color: #000;
}
.tooltip-container:hover > .tooltip { display: block; }
"""


def js() -> str:
    """Returns the script of `as_html_page`, for its buttons.

    Returns:
      JavaScript.
    """
    return """
function unfoldAll(open) {
  for (const node of document.querySelectorAll('.model-info details')) node.open = open;
}
"""
