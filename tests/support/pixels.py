"""Pictures of one colour."""

import numpy as np
from numpy.typing import NDArray


def flat(blue: int, green: int, red: int, width: int = 8, height: int = 4) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (blue, green, red), np.uint8)
