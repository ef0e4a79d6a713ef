"""The customary numbers for how far one column moved: what people know from other tools, to be read beside `Move`.

Each has a conventional value from which on one speaks of drift. The conventions know no sample size: in small windows
chance alone exceeds them, as docs/drift.md measures. A drift is therefore a value at its threshold or above *and*
a `Move` that is not by chance, see `exceeded`.
"""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from boucle.arrays import FloatArray, IndexArray
from boucle.drift.moves import CRITICAL, Move, are_categories

Present = Sequence[float | bool | str]
BINS = 10
# What an empty bin counts for in a logarithm.
LEAST_SHARE = 1e-4

# From which value on each is called a drift:
# - psi: "significant change" in credit scoring; Siddiqi (2006), Credit Risk Scorecards; Yurdakul and Naranjo (2020),
#   Journal of Risk Model Validation 14(4), on what chance does to it;
# - jensen_shannon: the default of Evidently 0.7;
# - wasserstein, chi_square: a small effect, 0.2 deviations and V = 0.1; Cohen (1988), Statistical Power Analysis;
# - kolmogorov_smirnov: no convention but for its p-value; what a shift of a normal by 0.25 deviations gives.
THRESHOLDS = MappingProxyType(
    {"psi": 0.25, "jensen_shannon": 0.1, "kolmogorov_smirnov": 0.1, "wasserstein": 0.2, "chi_square": 0.1}
)


def statistics(reference: Present, current: Present) -> dict[str, float]:
    """The distances between the present values of one column; nothing when one side has none.

    Numbers: ``psi`` and ``jensen_shannon`` between the shares in the deciles of the reference (of a column of at most
    ten values, the shares of these), ``kolmogorov_smirnov``, and ``wasserstein`` over the reference's standard
    deviation. Anything else: ``chi_square``, as Cramér's V between the shares, so that its size does not depend on how
    many rows each side has, and ``jensen_shannon``. V, Jensen-Shannon (a distance, base 2) and Kolmogorov-Smirnov lie
    in [0, 1].
    """
    if not len(reference) or not len(current):
        return {}
    if are_categories(reference) or are_categories(current):
        shares = _shares_of_categories([str(value) for value in reference], [str(value) for value in current])
        return {"chi_square": _cramers_v(shares), "jensen_shannon": _jensen_shannon(shares)}
    known, new = np.array(reference, dtype=np.float64), np.array(current, dtype=np.float64)
    shares = _shares_of_numbers(known, new)
    return {
        "psi": _psi(shares),
        "jensen_shannon": _jensen_shannon(shares),
        "kolmogorov_smirnov": _kolmogorov_smirnov(known, new),
        "wasserstein": _wasserstein(known, new),
    }


def exceeded(values: dict[str, float], move: Move) -> list[str]:
    """The statistics of a column that call a drift what its ``move`` shows not to be chance."""
    return [name for name, value in values.items() if value >= THRESHOLDS[name] and move.p_value <= CRITICAL]


def _shares_of_categories(reference: Sequence[object], current: Sequence[object]) -> FloatArray:
    """Shape (2, n_categories): of every category that one side has, the share in the reference and in the others."""
    _, codes = np.unique([*reference, *current], return_inverse=True)
    return _shares(codes[: len(reference)], codes[len(reference) :], codes.max() + 1)


def _shares_of_numbers(reference: FloatArray, current: FloatArray) -> FloatArray:
    if len(np.unique(reference)) <= BINS:
        return _shares_of_categories(reference.tolist(), current.tolist())
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    return _shares(np.searchsorted(edges, reference), np.searchsorted(edges, current), len(edges) + 1)


def _shares(reference: IndexArray, current: IndexArray, bins: int) -> FloatArray:
    return np.stack([np.bincount(codes, minlength=bins) / len(codes) for codes in (reference, current)])


def _psi(shares: FloatArray) -> float:
    reference, current = np.maximum(shares, LEAST_SHARE)
    return float(((current - reference) * np.log(current / reference)).sum())


def _jensen_shannon(shares: FloatArray) -> float:
    return float(np.nan_to_num(jensenshannon(*shares, base=2)))  # rounding can make the root's argument negative


def _cramers_v(shares: FloatArray) -> float:
    return float(np.sqrt(chi2_contingency(shares, correction=False).statistic / shares.sum()))


def _kolmogorov_smirnov(reference: FloatArray, current: FloatArray) -> float:
    with np.errstate(divide="ignore"):  # of the p-value, which is not used, for one row on each side
        return float(ks_2samp(reference, current, method="asymp").statistic)


def _wasserstein(reference: FloatArray, current: FloatArray) -> float:
    # A constant reference has no scale; what came since has.
    scale = reference.std() if np.ptp(reference) else np.concatenate([reference, current]).std()
    return float(wasserstein_distance(reference, current) / scale) if scale else 0.0
