"""Products of int8 codes with int16 queries, whole registers at a time: the compiled inner loop of the search.

Numba's compiler fills half a register at best when it turns such a loop into vector instructions by itself. So the sum
of a block of products is written as one vector operation of LLVM's, which every processor's back end knows; the fast
instructions for it (`vpmaddwd`, `vpdpwssd`, `smlal`) follow from it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 32
"""Values per row are a multiple of this."""
WIDE = 4 * BLOCK
CACHE_LINE = 64
AHEAD = 4096
"""Bytes by which codes are asked for before they are needed; the processor by itself asks too late."""


def _block_dot(width: int) -> Any:
    """A compiled function: the int32 sum of `width` products of int8 and int16 values from a place on."""

    @intrinsic  # type: ignore[untyped-decorator]
    def dot(context: Any, codes: Any, code_start: Any, query: Any, query_start: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            factors = []
            for kind, array, start in zip(signature.args[::2], arguments[::2], arguments[1::2], strict=True):
                place = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
                pointer = builder.bitcast(place, ir.VectorType(place.type.pointee, width).as_pointer())
                factors.append(builder.sext(builder.load(pointer, align=1), ir.VectorType(ir.IntType(32), width)))
            kind = factors[0].type
            total = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind.element, [kind]), f"llvm.vector.reduce.add.v{width}i32"
            )
            return builder.call(total, [builder.mul(*factors)])

        return types.int32(codes, code_start, query, query_start), build

    return dot


@intrinsic  # type: ignore[untyped-decorator]
def _ask_for(context: Any, codes: Any, start: Any) -> Any:
    """Have a cache line read in the background; one beyond the end does no harm."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place, number = builder.gep(array.data, [arguments[1]]), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(codes, start), build


_dot_wide, _dot_block = _block_dot(WIDE), _block_dot(BLOCK)


@njit(nogil=True, cache=True)
def dots(codes: Any, start: int, stop: int, queries: Any, query: int, sums: Any) -> None:
    """Products of a query with the rows from `start` to `stop`.

    Args:
        codes: (N, P) int8, in one piece; P is a multiple of `BLOCK`.
        queries: (Q, P) int16, in one piece, so short that no product overflows.
        sums: (n,) int32, written to.
    """
    size = codes.shape[1]
    flat, flat_queries, first = codes.reshape(-1), queries.reshape(-1), query * size
    wide = size // WIDE * WIDE
    for row in range(start, stop):
        total, place = np.int32(0), row * size
        for d in range(0, wide, WIDE):
            for line in range(0, WIDE, CACHE_LINE):
                _ask_for(flat, place + d + line + AHEAD)
            total = np.int32(total + _dot_wide(flat, place + d, flat_queries, first + d))
        for d in range(wide, size, BLOCK):
            _ask_for(flat, place + d + AHEAD)
            total = np.int32(total + _dot_block(flat, place + d, flat_queries, first + d))
        sums[row - start] = total
