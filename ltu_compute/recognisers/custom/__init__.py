"""Models that accounts train: the network they stand on, their ONNX files, and who may use them."""
