"""Functions without a derivative by nature, functions about arrays, and functions that are refused."""

import numpy as np

from .._op import CLASSIFIED, constant, metadata, refused
from .._tensor import OPS

# Results that take a finite number of values: truths, bits, counts, positions. (Rounding stands with arithmetic.)

_TRUTHS = [
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_not, np.logical_and, np.logical_or, np.logical_xor,
    np.isnan, np.isinf, np.isfinite, np.isposinf, np.isneginf, np.signbit, np.isreal, np.iscomplex,
    np.all, np.any, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.isin,
    *(getattr(np, name) for name in ("in1d",) if hasattr(np, name)),
]  # fmt: skip
_INTEGERS = [
    np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.bitwise_count,
    np.gcd, np.lcm, np.packbits, np.unpackbits,
]  # fmt: skip
_POSITIONS = [
    np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.lexsort,
    np.argwhere, np.nonzero, np.flatnonzero, np.count_nonzero, np.searchsorted, np.digitize,
    np.ix_, np.ravel_multi_index, np.unravel_index,
]  # fmt: skip

constant(*_TRUTHS, *_INTEGERS, *_POSITIONS, np.spacing)


def _file(ufunc, name):
    """File what was said of a method of a ufunc under the key that NumPy's protocol gives."""
    method = getattr(ufunc, name)
    OPS[ufunc, name] = OPS.pop(method)
    CLASSIFIED[ufunc, name] = CLASSIFIED.pop(method)


for _ufunc in (f for f in (*_TRUTHS, *_INTEGERS, np.floor_divide) if isinstance(f, np.ufunc) and f.nin == 2):
    for _name in ("reduce", "accumulate", "reduceat", "outer"):
        constant(getattr(_ufunc, _name))
        _file(_ufunc, _name)

# Facts about arrays, and their values as text or in files, which are explicit reads.

metadata(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type, np.min_scalar_type)
metadata(np.iscomplexobj, np.isrealobj, np.may_share_memory, np.shares_memory)
metadata(np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.einsum_path)
metadata(np.array_repr, np.array_str, np.array2string, np.save, np.savez, np.savez_compressed, np.savetxt)

refused(
    np.putmask,
    np.place,
    np.put,
    np.fill_diagonal,
    because="it writes into its operand; assign instead (t[mask] = values), or choose between values with np.where",
)
refused(
    np.busday_count,
    np.busday_offset,
    np.is_busday,
    np.isnat,
    np.datetime_as_string,
    because="tensors hold no dates; keep them in NumPy arrays",
)

# Functions that NumPy does not hand over to tensors, unless one is given as `like=`. They make arrays from numbers and
# files, or are about the library itself.


def _functions(names):
    """Return those functions of NumPy that its version has."""
    return [getattr(np, name) for name in names.split() if hasattr(np, name)]


constant(*_functions("""
    bartlett blackman diag_indices empty eye hamming hanning identity indices kaiser mask_indices ones tri tril_indices
    triu_indices zeros frombuffer fromfile fromfunction fromiter fromregex fromstring genfromtxt load loadtxt
"""))  # fmt: skip
metadata(*_functions("""
    base_repr binary_repr broadcast_shapes datetime_data format_float_positional format_float_scientific get_include
    get_printoptions getbufsize geterr geterrcall info isdtype isfortran isscalar issubdtype iterable mintypecode
    nested_iters printoptions promote_types set_printoptions setbufsize seterr seterrcall show_config show_runtime test
    typename
"""))  # fmt: skip
refused(
    *_functions("""
        arange array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray asmatrix bmat from_dlpack
        full require
    """),
    because="it makes a plain array, where gradients end; use tapegrad.tensor, as_tensor or stack, np.full_like or "
    "np.linspace, or detach() first",
)
refused(
    np.frompyfunc,
    because="NumPy calls the function with plain numbers; write it with NumPy's functions, or use np.apply_along_axis",
)

for _ufunc in {f for f in vars(np).values() if isinstance(f, np.ufunc)} - {np.add, np.subtract}:
    refused(
        _ufunc.at,
        because=f"{_ufunc.__name__}.at writes into its operand one index after another; apply {_ufunc.__name__} to "
        "what the index reads, and assign",
    )
    _file(_ufunc, "at")
