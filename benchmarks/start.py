"""How long `import longshort` and `longshort --help` take, beside an empty interpreter and a few libraries.

Run: ``python benchmarks/start.py``. Fresh processes, bytecode cached, taking turns; medians of wall time.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 9
CONTENDERS = {
    "python (nothing)": ["-c", "pass"],
    "import longshort": ["-c", "import longshort"],
    "longshort.LSTM": ["-c", "import longshort; longshort.LSTM"],
    "longshort --help": ["-m", "longshort", "--help"],
    "import numpy": ["-c", "import numpy"],
    "import pandas": ["-c", "import pandas"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float | None:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return time.perf_counter() - start if done.returncode == 0 else None


def main() -> None:
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(ROUNDS + 1):
        for name, arguments in CONTENDERS.items():
            taken = seconds(arguments)
            if taken is not None:
                found[name].append(taken)
    base = statistics.median(found["import longshort"][1:])
    for name, values in found.items():
        if values:
            middle = statistics.median(values[1:])
            print(f"=> {name:20s} {middle * 1e3:7.0f} ms   {middle / base:5.1f} x import longshort")


if __name__ == "__main__":
    main()
