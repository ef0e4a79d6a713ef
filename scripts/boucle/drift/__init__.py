"""Whether recent rows, and the errors made on them, are still those of the world that the champion knows.

What the triggers need stands here. The other measures are imported by their modules' names, since they bring SciPy and
river along: `statistics` (one column, in the customary numbers), `joint` (all columns at once), `concept` (the errors).
"""

from boucle.drift.moves import LEVEL, Move, Row, Value, compare, move, sustained

__all__ = ["LEVEL", "Move", "Row", "Value", "compare", "move", "sustained"]
