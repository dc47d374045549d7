"""The leak audit on its zoo, and how long it takes on the default LSTM.

Run: ``python benchmarks/audit.py``, or ``make zoo``; two minutes. Prints the confusion matrix, recall, false alarms and
the seconds of one audit of ``LSTM()`` on ten years of days. Exits with 1 when an entry gets a wrong answer.
"""

import sys
import time
import warnings

import longshort as ls
from longshort.evaluation import zoo


def main() -> int:
    warnings.simplefilter("ignore")  # of the libraries that are shown
    missing = [entry.name for entry in zoo.entries(installed=False) if entry not in zoo.entries()]
    start = time.perf_counter()
    found = zoo.run()
    print(found)
    print(f"=> {len(found.answers)} entries, {len(found.wrong)} wrong answers in {time.perf_counter() - start:.0f} s")
    if missing:
        print(f"not installed: {', '.join(missing)}")
    bars = ls.load_bars("AAPL", start="2010-01-01", end="2019-12-31", source="sample")
    start = time.perf_counter()
    audited = ls.audit(ls.LSTM(), bars)
    print(f"=> LSTM() on {len(bars):,} bars: {time.perf_counter() - start:.1f} s. {audited.sentence}")
    return 1 if found.wrong or not audited.ok else 0


if __name__ == "__main__":
    sys.exit(main())
