"""Writes what the tool makes of each program: `python -m tests.port.update`. Read the diff."""

from tests.port.golden import (
    FOLDER,
    NAMES,
    NOTEBOOKS,
    port_a_notebook,
    port_program,
    report_of,
)

if __name__ == "__main__":
    for name in NAMES:
        result = port_program((FOLDER / f"{name}.in.txt").read_text())
        (FOLDER / f"{name}.out.txt").write_text(result.text)
        (FOLDER / f"{name}.report.txt").write_text(report_of(result))
    for name in NOTEBOOKS:
        result, report = port_a_notebook((FOLDER / f"{name}.in.json").read_text())
        (FOLDER / f"{name}.out.json").write_text(result.text)
        (FOLDER / f"{name}.report.txt").write_text(report)
