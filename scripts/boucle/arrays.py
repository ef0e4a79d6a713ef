"""Names for NumPy arrays: what a shape holds is said where it is used."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
