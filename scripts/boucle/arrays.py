"""Names for NumPy arrays: what a shape holds is said where it is used."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
# What a model learns to predict: positions of classes, or quantities.
Labels = NDArray[Any]
