"""NanoDet as ONNX, from a TensorFlow.js graph model."""

from ltu_compute.recognisers.install.tfjs_graph import graph_model

OUTPUTS = {
    "Identity": "scores_8",
    "Identity_1": "scores_16",
    "Identity_2": "scores_32",
    "Identity_3": "boxes_8",
    "Identity_4": "boxes_16",
    "Identity_5": "boxes_32",
}
"""Outputs by the stride, in px, of the grid that they are for."""


def onnx_of(topology: bytes, weights: bytes) -> bytes:
    """Return the network as ONNX.

    Its input ``image`` is (1, 3, H, W), BGR, where H and W are multiples of 32 px. Its outputs are
    ``scores_S`` (1, N, 80), 0 to 1, and ``boxes_S`` (1, N, 44), for the N cells of the grids of
    stride S = 8, 16 and 32 px.
    """
    return graph_model(topology, weights, OUTPUTS, free=True)
