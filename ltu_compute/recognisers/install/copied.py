"""A file that is ONNX already."""

from ltu_compute.recognisers.onnx import worker


def onnx_of(content: bytes) -> bytes:
    """Return a file as it is, after a check that it is one ONNX model.

    Raises
    ------
    ValueError
        It is something else, or refers to other files.
    """
    view = memoryview(content)
    try:
        worker.refuse_external_data(view)
        worker.opset(view)
    except worker.Refused as error:
        raise ValueError(str(error)) from None
    return content
