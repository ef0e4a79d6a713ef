"""The rule: does the challenger replace the champion, and why."""

import math
from dataclasses import dataclass

from scipy.stats import t as student

from boucle.config import PromotionSection
from boucle.evaluation import Comparison


@dataclass(frozen=True)
class Decision:
    """What becomes of the challenger, with the sentence that a person will read and the bounds of its gain."""

    verdict: str
    reason: str
    lower: float | None = None
    upper: float | None = None

    @property
    def promote(self) -> bool:
        return self.verdict == "promoted"


def decide(comparison: Comparison, rule: PromotionSection, look: int = 1) -> Decision:
    """Promoted, rejected, or insufficient evidence.

    By default the challenger must gain ``margin`` or more, and the lower bound of its gain must lie above
    ``-tolerance``: it won, and the harm it can do is bounded. The bound is one-sided, Student's t over the blocks, so a
    challenger that is worse by the tolerance passes in ``level`` of the looks at most.

    With ``strict`` the bound must lie above ``margin``, and look number n spends ``level / (n (n + 1))`` of the error:
    these add up to ``level`` however often one looks, whatever the looks share (Lan & DeMets, 1983, Biometrika 70(3)).
    """
    level = rule.level / (look * (look + 1)) if rule.strict else rule.level
    difference = comparison.difference
    figures = (
        f"{comparison.metric} on {comparison.rows} exam rows: challenger {comparison.challenger:.4f}, "
        f"champion {comparison.champion:.4f}"
    )
    if not math.isfinite(difference) or not math.isfinite(comparison.standard_error):
        return Decision("insufficient evidence", f"{figures}; nothing can be said of them")
    reach = float(student.ppf(1 - level, comparison.blocks - 1)) * comparison.standard_error
    lower, upper = difference - reach, difference + reach
    floor = rule.margin if rule.strict else -rule.tolerance
    bound = f"the gain {difference:+.4f} is at least {lower:+.4f}"
    if difference < rule.margin:
        lost = f"did not win by {rule.margin:g}" if rule.margin else "lost"
        return Decision("rejected", f"{figures}; the challenger {lost}", lower, upper)
    if lower <= floor:
        reason = f"{figures}; {bound}, which must be above {floor:g}: more rows will tell"
        return Decision("insufficient evidence", reason, lower, upper)
    return Decision("promoted", f"{figures}; {bound}: the challenger won", lower, upper)
