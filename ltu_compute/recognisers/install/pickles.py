"""Tensors from a PyTorch file of before version 1.6, read without PyTorch and without trust.

A pickle may call anything it names. Here it can name four things, which make arrays; any other
name is an error.

Source: ``torch/serialization.py``, ``_legacy_save``: pickles of a magic number, the protocol, the
system's sizes, the object, and the keys of its storages, then each storage: the number of its
elements (int64) and the elements.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
MAX_ELEMENTS = 1 << 28  # of all storages together


class _Storage:
    """Elements that follow the pickles; tensors are views of them."""

    def __init__(self, dtype: np.dtype[Any], count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.values: NDArray[Any] = np.empty(0, dtype)


class _Tensor:
    """Where a tensor's elements are."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> NDArray[Any]:
        """Return it as an array; its strides count elements, not bytes."""
        reach = sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        inside = min(self.shape, default=1) > 0 and min(0, self.offset, *self.strides) == 0
        if not (inside and self.offset + reach < self.storage.values.size):
            raise ValueError("a tensor is outside of its storage")
        item = self.storage.dtype.itemsize
        view: NDArray[Any] = np.lib.stride_tricks.as_strided(
            self.storage.values[self.offset :],
            self.shape,
            [item * step for step in self.strides],
            writeable=False,
        )
        return np.ascontiguousarray(view).reshape(self.shape)


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch", "FloatStorage"): "FloatStorage",
    ("torch", "LongStorage"): "LongStorage",
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that a file of tensors needs, and no others."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the four things that may be named."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage, the same one each time it is named."""
        _, kind, key, _, count = pid[:5]
        if key not in self.storages:
            self.storages[key] = _Storage(DTYPES[kind], int(count))
        return self.storages[key]


def tensors(content: bytes) -> Mapping[str, NDArray[Any]]:
    """Return the tensors of a file by their names.

    Raises
    ------
    ValueError
        It is not such a file, or names anything that makes no tensor.
    """
    file = io.BytesIO(content)
    try:
        if (_load(file), _load(file)) != (MAGIC, PROTOCOL):
            raise ValueError("it is not a PyTorch file of the old format")
        _load(file)  # sizes of the system that wrote it
        reader = _Unpickler(file)
        found: Mapping[str, _Tensor] = reader.load()
        keys = _load(file)
        if sum(storage.count for storage in reader.storages.values()) > MAX_ELEMENTS:
            raise ValueError(f"it has over {MAX_ELEMENTS} numbers")
        for key in keys:
            storage = reader.storages[key]
            count = int.from_bytes(file.read(8), "little")
            if count != storage.count:
                raise ValueError("the sizes of a storage differ")
            values = file.read(count * storage.dtype.itemsize)
            storage.values = np.frombuffer(values, storage.dtype)
        return {name: tensor.array() for name, tensor in found.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, AttributeError) as e:
        raise ValueError(f"it is not a file of tensors: {e}") from None


def _load(file: io.BytesIO) -> Any:
    return _Unpickler(file).load()
