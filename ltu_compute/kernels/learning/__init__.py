"""Training on a frozen network's numbers: classifiers and detectors, on the CPU.

The same pictures, labels and boxes give the same weights: pictures are parted by hashes, random
numbers have fixed seeds, and one thread computes (the order of a sum decides its last bits).
scikit-learn is imported when something is trained.
"""
