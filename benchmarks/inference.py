"""What a whole scorecard costs: against bare numpy, and per comparison against gbstats and tea-tasting."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import tea_tasting as tt
from numpy.typing import NDArray
from tea_tasting.aggr import Aggregates

from abplatform.stats import MeanStats, ProportionStats, bayes, fixed, group_sequential, sequential
from benchmarks import bare
from benchmarks.scorecards import COMPARISONS, Inputs, inputs
from benchmarks.timing import Result, medians

PEERS = Path(sys.prefix, "peers", "bin", "python")
FAMILY = 4
LEVELS = np.array([0.05, 0.05 / FAMILY]).reshape(2, 1, 1)
PLANNED = 100_000
SCALE = 1.0
REPEATS = 20
TEA_CELLS = 20
BOUNDS_REPEATS = 20


class Peer:
    """A process of the peers' environment that times pieces of work by their names."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def seconds(self, work: str) -> float:
        """Do it once."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(work + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def peer(data: Inputs) -> Iterator[Peer]:
    """Start the peers' process on these inputs; `make bench` has made its environment."""
    if not PEERS.exists():
        raise FileNotFoundError(f"{PEERS} is missing: run `make bench`, which installs the packages to compare with")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "inputs.npz")
        data.save(file)
        worker = Path(__file__).with_name("peer_worker.py")
        command = [str(PEERS), "-W", "ignore", str(worker), str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield Peer(process)


def ours(data: Inputs) -> dict[str, Callable[[], object]]:
    """Scorecards from the raw moments on: statistics are checked and built, two levels compared, the guard asked.

    Those named "... once" compare at one level, as the peers do, and from the raw moments on as well.
    """

    def arms() -> tuple[MeanStats, MeanStats]:
        return (
            MeanStats(data.treatment_n, data.treatment_mean, data.treatment_m2),
            MeanStats(data.control_n, data.control_mean, data.control_m2),
        )

    def sequentially() -> None:
        treatment, control = arms()
        sequential.compare(treatment, control, planned_units=PLANNED, alpha=LEVELS)
        units, active = _pairs(data)
        sequential.efficacy_guard(units, active, axis=0)

    def once() -> None:
        fixed.compare(*arms(), alpha=LEVELS)

    def believing() -> None:
        bayes.compare(*arms(), prior_scale=SCALE, alpha=LEVELS)

    return {
        "sequential": sequentially,
        "t test": once,
        "bayesian": believing,
        "sequential once": lambda: sequential.compare(*arms(), planned_units=PLANNED),
        "t test once": lambda: fixed.compare(*arms()),
        "bayesian once": lambda: bayes.compare(*arms(), prior_scale=SCALE),
    }


def _pairs(data: Inputs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units and non-zero units with treatment and control along the first axis."""
    units = np.stack(np.broadcast_arrays(data.treatment_n, data.control_n))
    return units, np.stack(np.broadcast_arrays(data.treatment_nonzero, data.control_nonzero))


def floor(data: Inputs) -> dict[str, Callable[[], object]]:
    """The same scorecards in bare numpy."""
    levels = LEVELS.ravel().tolist()
    tuned = [(alpha, float(sequential.tune_rho2(PLANNED, alpha))) for alpha in levels]

    def sequentially() -> None:
        bare.sequential(data, tuned)
        bare.guard(data)

    return {
        "sequential": sequentially,
        "t test": lambda: bare.welch(data, levels),
        "bayesian": lambda: bare.normal_bayes(data, levels, SCALE),
    }


def tea(data: Inputs) -> Callable[[], object]:
    """Some comparisons by tea-tasting, from aggregates made before the clock starts."""
    metric = tt.Mean("value")

    def aggregates(n: int, mean: float, m2: float) -> Aggregates:
        return Aggregates(count_=n, mean_={"value": mean}, var_={"value": m2 / (n - 1)})

    cells = [
        (
            aggregates(int(data.control_n[row, 0]), float(data.control_mean[row, 0]), float(data.control_m2[row, 0])),
            aggregates(
                int(data.treatment_n[row, 0]), *(float(x[row, 0]) for x in (data.treatment_mean, data.treatment_m2))
            ),
        )
        for row in range(TEA_CELLS)
    ]
    return lambda: [metric.analyze_aggregates(control, treatment) for control, treatment in cells]


def run() -> Iterator[Result]:
    """Time whole scorecards and single comparisons; the peers' process takes its turns in the same rounds."""
    data = inputs()
    with peer(data) as others:
        yield from _scorecards(data, others)
        yield from _bounds(others)
        yield from _beta_binomial(data, others)


def _scorecards(data: Inputs, others: Peer) -> Iterator[Result]:
    mine, bottom = ours(data), floor(data)
    works: dict[str, Callable[[], object]] = {}
    for name in mine:
        works[f"ours {name}"] = _repeated(mine[name])
    for name in bottom:
        works[f"bare {name}"] = _repeated(bottom[name])
        works[f"gbstats {name}"] = partial(others.seconds, name)
    works["tea-tasting"] = tea(data)
    seconds = medians(works)
    for name in bottom:
        whole, least = seconds[f"ours {name}"] / REPEATS, seconds[f"bare {name}"] / REPEATS
        figure = f"{whole / least:.2f}x ({whole * 1e3:.2f} ms against {least * 1e3:.2f} ms)"
        yield Result(
            f"{name} scorecard of 1,000 metrics x 3 variants against bare numpy",
            figure,
            "at most 3x",
            met=whole <= 3 * least,
        )
        each = seconds[f"ours {name} once"] / REPEATS / COMPARISONS
        theirs = seconds[f"gbstats {name}"] / COMPARISONS
        yield _cheaper(f"{name} comparison against gbstats", each, theirs, least=100)
    each = seconds["ours t test once"] / REPEATS / COMPARISONS
    yield _cheaper("t test comparison against tea-tasting", each, seconds["tea-tasting"] / TEA_CELLS, least=100)


def _repeated(work: Callable[[], object]) -> Callable[[], object]:
    def often() -> None:
        for _ in range(REPEATS):
            work()

    return often


def _cheaper(name: str, each: float, theirs: float, *, least: float) -> Result:
    figure = f"{theirs / each:.0f}x cheaper ({each * 1e6:.3g} us against {theirs * 1e6:.3g} us)"
    return Result(name, figure, f"at least {least:g}x", met=theirs >= least * each)


def _bounds(others: Peer) -> Iterator[Result]:
    """Critical values of five looks by a spending function of the power family, which both have."""
    fractions, spending = np.array([0.2, 0.4, 0.6, 0.8, 1.0]), group_sequential.Spending("power", 2.0)

    def mine() -> None:
        for _ in range(BOUNDS_REPEATS):
            group_sequential.efficacy_bounds(fractions, spending=spending)

    seconds = medians({"ours": mine, "spotify": partial(others.seconds, "bounds")})
    each, theirs = (seconds[name] / BOUNDS_REPEATS for name in ("ours", "spotify"))
    yield _cheaper("bounds of 5 looks against spotify-confidence", each, theirs, least=30)


def _beta_binomial(data: Inputs, others: Peer) -> Iterator[Result]:
    """Exact posteriors of two rates, both intervals included, against gbstats' normal approximation."""
    treatment, control = (
        ProportionStats(n, hits)
        for n, hits in ((data.treatment_n, data.treatment_nonzero), (data.control_n, data.control_nonzero))
    )
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: bayes.compare_conversions(treatment, control),
        "gbstats": partial(others.seconds, "bayesian"),
    }
    seconds = medians(works)
    each, theirs = (seconds[name] / COMPARISONS for name in ("ours", "gbstats"))
    yield _cheaper("beta-binomial comparison against gbstats' normal one", each, theirs, least=15)
