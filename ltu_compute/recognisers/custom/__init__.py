"""Models that accounts train: their backbone, their ONNX files, and their access rights."""
