"""What the scripts in this folder share: colours, and saving a figure so that it comes out the same each time."""

import io
import pathlib
import re
import sys
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#aa4499", "#e4e4e4"


def new_figure(
    columns: int, rows: int, width: float, height: float, **kwargs: Any
) -> tuple[Figure, Any]:
    """A figure on white, for pages in light and dark mode, and its axes as `[rows, columns]`."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def draw_cells(axes: Any, cells: Any, colour: str = BLUE) -> None:
    """Draws a matrix of booleans as squares, its first row at the top."""
    rows, columns = cells.shape
    axes.add_patch(Rectangle((0, 0), columns, rows, facecolor=GREY))
    # One path for all squares, and not one for each: the file is a fifth.
    squares = [
        Path.unit_rectangle().transformed(Affine2D().translate(j, i)) for i, j in np.argwhere(cells)
    ]
    axes.add_patch(PathPatch(Path.make_compound_path(*squares), facecolor=colour, linewidth=0))
    lines = [Path([(i, 0), (i, rows)]) for i in range(columns + 1)] + [
        Path([(0, i), (columns, i)]) for i in range(rows + 1)
    ]
    axes.add_patch(PathPatch(Path.make_compound_path(*lines), edgecolor="white", linewidth=0.8))
    axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def save(figure: Figure, script: str) -> None:
    """Writes the figure beside its script, as SVG, or to the path on the command line."""
    path = (
        pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(script).with_suffix(".svg")
    )
    text = io.StringIO()
    with mpl.rc_context(
        {"svg.hashsalt": "purestate", "svg.fonttype": "none"}
    ):  # the same file each time; text as text
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    lines = text.getvalue().splitlines()
    path.write_text("\n".join(line if "<text" in line else _rounded(line) for line in lines) + "\n")


def _rounded(line: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", line)
