"""Whether the errors of the predictions have changed: what the inputs alone cannot tell.

ADWIN of Bifet and Gavaldà (2007), Learning from Time-Changing Data with Adaptive Windowing, says whether; it drops the
old errors bucket by bucket, hence late. Where is the place that parts the errors best: the largest standardized
difference of means, as in Hinkley (1970), Biometrika 57(1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from river.drift import ADWIN

from boucle.arrays import FloatArray

# Of windows without a change, at most one in a hundred seems to have one: measured, see docs/drift.md. The bound behind
# ADWIN is loose: with the usual 0.002 none in thousands does, and changes that can be seen are missed.
DELTA = 0.1
# In longer streams there are more places at which chance may strike.
ROWS_OF_DELTA = 500
# ADWIN looks at every so many errors: each look is one more chance of a false alarm.
CLOCK = 8
# An error this large, as a quantile of the errors, counts as much as a larger one: one wild error is no change.
LARGEST = 0.95
FEWEST = 5


@dataclass(frozen=True)
class Change:
    """Mean error before and after the place of the change; smaller afterwards when the world has become easier."""

    changed: bool
    before: float | None = None
    after: float | None = None
    position: int | None = None  # of the first error after it


def change(errors: Sequence[float]) -> Change:
    """Whether the mean of ``errors`` changed on the way, in the order in which they were made.

    Each is 0 or 1 for a class, or absolute for a quantity, in any unit: they are cut at a high quantile and scaled.
    All come from one champion: a new one changes the errors, too.
    """
    values = np.array(errors, dtype=np.float64)
    if not values.any() or not _alarms(_scaled(values)):
        return Change(changed=False)
    position = _position(_scaled(values))
    return Change(True, float(values[:position].mean()), float(values[position:].mean()), position)


def _scaled(errors: FloatArray) -> FloatArray:
    # Rare errors of a classifier: the quantile is 0, the largest is 1.
    limit = np.quantile(errors, LARGEST) or errors.max()
    return np.minimum(errors / limit, 1.0)


def _alarms(errors: FloatArray) -> bool:
    detector: Any = ADWIN(delta=DELTA * min(1, ROWS_OF_DELTA / len(errors)), clock=CLOCK)  # type: ignore[no-untyped-call]  # Any: river's are not typed
    for error in errors:
        detector.update(float(error))
        if detector.drift_detected:
            return True
    return False


def _position(errors: FloatArray) -> int:
    rows = len(errors)
    before = np.arange(FEWEST, rows - FEWEST + 1)
    sums = np.cumsum(errors)
    difference = (sums[-1] - sums[before - 1]) / (rows - before) - sums[before - 1] / before
    return int(before[np.argmax(np.abs(difference) * np.sqrt(before * (rows - before)))])
