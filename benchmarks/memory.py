"""How much memory training takes: 100,000 bars, 16 features, lookback 60.

What training adds is read from the kernel's own count of resident pages (VmHWM in /proc/self/status), in a process that
does nothing else. Run: ``python benchmarks/memory.py``.
"""

import longshort as ls
from longshort import features as f
from longshort.data import synthetic

N_BARS, LOOKBACK = 100_000, 60


def resident(kind: str) -> float:
    """Return VmRSS or VmHWM in MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(kind))


def main() -> None:
    bars = synthetic.random_walk(N_BARS, ("A",), seed=0)
    inputs = [f.log_return(n) for n in range(1, 17)]
    model = ls.LSTM(inputs, lookback=LOOKBACK, hidden=(16,), epochs=1, seed=0)
    small = bars.until(int(bars.time[999]))
    model.with_params().fit(small)  # every module and buffer that does not grow with the series
    f.forward_log_return(1).compute(bars)
    bars.digest  # noqa: B018 - cached; belongs to the bars
    before = resident("VmRSS")
    model.fit(bars)
    matrix = N_BARS * len(inputs) * 8 / 2**20
    grown = resident("VmHWM") - before
    windows = matrix * LOOKBACK
    print(f"bars {N_BARS:,}, features {len(inputs)}, lookback {LOOKBACK}, one LSTM of 16 units")
    print(f"float64 feature matrix         {matrix:8.1f} MB")
    print(f"=> peak growth while training  {grown:8.1f} MB   {grown / matrix:.2f} x the matrix (wanted 1.6)")
    print(f"windows copied, for comparison {windows:8.1f} MB   {windows / matrix:.0f} x the matrix")


if __name__ == "__main__":
    main()
