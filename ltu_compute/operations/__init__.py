"""What the service can do, each thing once: images and settings in, a kernel's result out.

An operation chooses the size at which pictures are decoded, the recogniser and the model, checks
what must hold before a kernel runs, and raises `ServiceError` where there is no answer. Interfaces,
jobs and the command line call it; none of them repeats its decisions.
"""
