"""The rule: does the challenger replace the champion, and why."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """What becomes of the challenger, with the sentence that a person will read."""

    promote: bool
    reason: str

    @property
    def verdict(self) -> str:
        return "promoted" if self.promote else "rejected"


def decide(champion: float, challenger: float, metric: str, rows: int, margin: float) -> Decision:
    """Promote when the challenger's score on the exam rows exceeds the champion's by more than ``margin``.

    Both scores come from the same rows, which neither model was fitted on; a higher score is better.
    """
    figures = f"{metric} on {rows} exam rows: challenger {challenger:.4f}, champion {champion:.4f}"
    if math.isnan(champion) or math.isnan(challenger):
        return Decision(False, f"{figures}; nothing can be said of them")
    if challenger - champion > margin:
        return Decision(True, f"{figures}; the challenger won")
    return Decision(False, f"{figures}; the challenger did not win by more than {margin:g}")
