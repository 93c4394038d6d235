"""Choices of operations, for interfaces that should not load what computes them."""

from typing import Literal

MaskAlgorithm = Literal["quantization", "sobel", "otsu"]
MASK_ALGORITHM: MaskAlgorithm = "quantization"  # where none is named
FOUND_BY = (
    "How the object differs from the background. quantization: by other colours than those along "
    "the border. sobel: by a closed border. otsu: by brightness."
)
