"""How long a person waits for `import maquette` and `maquette --help`.

    python benchmarks/suite/startup.py

Each is started afresh several times in its own process. The median and the fastest are printed beside the budget; they
contain the start of Python itself, shown in the first row. The exit code is 1 when a fastest time is over its budget.
"""

import statistics
import subprocess
import sys
import time

REPEATS = 9
HELP = "import sys; sys.argv = ['maquette', '--help']; from maquette.__main__ import main; main()"
ROWS = [  # what, the command, the budget in seconds
    ("python itself", "pass", None),
    ("import maquette", "import maquette", 0.3),
    ("maquette --help", HELP, 0.5),
    ("first use of torch", "import maquette; maquette.orbit(0, 0)", None),
]


def seconds(program: str) -> float:
    """Wall-clock seconds of one fresh interpreter that runs the program."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Print the table."""
    is_over = False
    print(f"{'what':<20} {'median s':>9} {'fastest s':>10} {'budget s':>9}")
    for what, program, budget in ROWS:
        seconds(program)  # fills the disk cache
        times = [seconds(program) for _ in range(REPEATS)]
        is_over |= budget is not None and min(times) > budget
        print(f"{what:<20} {statistics.median(times):>9.3f} {min(times):>10.3f} {budget or '':>9}")
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
