"""Operations of the service: images and settings in, a kernel's result out.

An operation chooses the decoding size, the recogniser and the model. It checks preconditions
before a kernel runs, and raises `ServiceError` if there is no answer. Interfaces, jobs and the
command line call operations; none of them repeats these decisions.
"""
