"""Who holds memory: the tape's residuals, by the op that kept them, and the pools of CUDA devices."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ._array import LIBRARIES, device_of, is_array
from ._tape import Leaf, Record
from ._tensor import Tensor

__all__ = ["memory_summary"]


def memory_summary() -> str:
    """Return what takes memory now, as a table to print.

    First, for each device, the arrays of living tensors, then what the tape keeps beside them: for each op the number
    of its living records and the bytes of the residuals that no tensor holds anyway. Then, for every CUDA device in
    use, CuPy's pool: bytes in arrays, bytes that the pool holds in reserve, and what the device has free.

    It looks through all objects of the process, which takes a moment, and waits for no device.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor(np.ones(1000), requires_grad=True)
    >>> y = np.sum(np.sin(x) ** 2)
    >>> "sin" in tg.memory_summary()
    True
    """
    owners: dict[int, tuple[str, int]] = {}
    of_tensors: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    of_ops: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    objects = gc.get_objects()
    for tensor in objects:
        if type(tensor) is Tensor and hasattr(tensor, "_array"):
            for size, place in _own(tensor._array, owners):
                of_tensors[place][0] += 1
                of_tensors[place][1] += size
    for record in objects:
        # By its type: other libraries' proxies wake up when isinstance asks them for their class.
        if issubclass(type(record), Record) and type(record) is not Leaf and getattr(record, "op", None) is not None:
            name = record.op.name
            found = [each for saved in (record.for_x, record.for_y) for each in _own(saved, owners)]
            places = {place for _, place in found} or {""}
            for place in places:
                of_ops[name, place][0] += 1
                of_ops[name, place][1] += sum(size for size, where in found if where == place)
    lines = [f"{'what':<24}{'device':<10}{'count':>9}{'bytes':>18}"]
    for place, (count, size) in sorted(of_tensors.items()):
        lines.append(f"{'arrays of tensors':<24}{place:<10}{count:>9,}{size:>18,}")
    for (name, place), (count, size) in sorted(of_ops.items(), key=lambda entry: -entry[1][1]):
        lines.append(f"{'kept by ' + name:<24}{place:<10}{count:>9,}{size:>18,}")
    return "\n".join(lines + list(_pools()))


def _own(value: Any, owners: dict[int, tuple[str, int]]) -> Iterator[tuple[int, str]]:
    """Yield size and device of the memory behind the arrays in `value` that was not met before, and note it."""
    if isinstance(value, (tuple, list)):
        for entry in value:
            yield from _own(entry, owners)
    elif is_array(value) and hasattr(value, "base"):
        root = value
        while is_array(getattr(root, "base", None)):
            root = root.base
        if id(root) not in owners:
            owners[id(root)] = place, size = device_of(root), int(root.nbytes)
            yield size, place


def _pools() -> Iterator[str]:
    """Yield a line for each pool of a CUDA device that has given memory."""
    for library in {id(module): module for module in LIBRARIES.values()}.values():
        if not hasattr(library, "get_default_memory_pool"):
            continue
        try:
            count = library.cuda.runtime.getDeviceCount()
        except library.cuda.runtime.CUDARuntimeError:
            continue
        pool = library.get_default_memory_pool()
        for number in range(count):
            with library.cuda.Device(number) as device:
                used, held = pool.used_bytes(), pool.total_bytes()
                if held:
                    free, whole = device.mem_info
                    yield (
                        f"pool of cuda:{number}: {used:,} bytes in arrays, {held - used:,} in reserve; "
                        f"{free:,} of {whole:,} free on the device"
                    )
