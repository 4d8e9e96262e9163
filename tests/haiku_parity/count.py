"""How many rows of the tables are bit-identical to dm-haiku's, measured as it runs.

python -m tests.haiku_parity.count                     all of it: some minutes for each dtype
python -m tests.haiku_parity.count --dtypes float64 --modes jit --rows linear,lstm
"""

import argparse
import sys

import haiku
import jax

import purestate
from tests.haiku_parity import table_layers, table_recurrent
from tests.haiku_parity.comparison import MODES, PARTS, compare

DTYPES = ("float32", "bfloat16", "float64")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument(
        "--rows", default="", help="names of rows, separated by commas; all if left out"
    )
    options = parser.parse_args()
    dtypes, modes = options.dtypes.split(","), options.modes.split(",")
    rows = table_layers.ROWS + table_recurrent.ROWS
    if options.rows:
        names = options.rows.split(",")
        rows = [row for row in rows if row.name in names]

    print(
        f"jax {jax.__version__} on {jax.default_backend()}, Python {sys.version.split()[0]}, "
        f"dm-haiku {haiku.__version__}, purestate {purestate.__version__}: {len(rows)} rows"
    )
    print(
        f"{'identical / compared':22}" + "".join(f"{part:>14}" for part in (*PARTS, "all of them")),
        flush=True,
    )
    total_identical = total = 0
    for mode in modes:
        for dtype in dtypes:
            results = {row.name: compare(row, dtype, mode) for row in rows if dtype in row.dtypes}
            identical = [sum(not result[part] for result in results.values()) for part in PARTS]
            identical.append(sum(not any(result.values()) for result in results.values()))
            print(
                f"{dtype + ', ' + mode:22}"
                + "".join(f"{f'{n} / {len(results)}':>14}" for n in identical)
            )
            for name, result in results.items():
                for part, found in result.items():
                    for line in found:
                        print(f"    {name}, {part}{line}")
            sys.stdout.flush()
            jax.clear_caches()  # which hold gigabytes by now
            total_identical, total = total_identical + identical[-1], total + len(results)
    print(f"rows x dtypes x (eager, jit): {total_identical} / {total}")


if __name__ == "__main__":
    main()
