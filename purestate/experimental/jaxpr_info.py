"""Reports what a function computes, module by module."""

from purestate._inspection.html_report import as_html, as_html_page, css, js
from purestate._inspection.jaxpr_info import Expression, Module, format_module, make_model_info

__all__ = [
    "Expression",
    "Module",
    "as_html",
    "as_html_page",
    "css",
    "format_module",
    "js",
    "make_model_info",
]
