"""Products of int8 codes with int16 queries, whole registers at a time: the compiled inner loop of the search.

Numba's own vector code for such a loop fills a quarter of a wide register. So the sums of a block of products are
written as vector operations of LLVM, which become what the processor offers: `vpmaddwd` on x86, and correct, if slower,
instructions elsewhere.

Why not a library: with products by NumKong 7.8.6 or SimSIMD 6.5.16 (which have int8 only, so a query's 16 bits are two
products) the same exact search of one query takes longer. In one run, 128 dimensions, one core of a Xeon with AVX-512
and AMX, medians of CPU time:

                              here     NumKong, packed, its best block   SimSIMD, cdist
    one query of 100,000       1.2 ms    2.6 ms                             3.8 ms
    one query of 1,000,000    10.8 ms   24.1 ms                            35.2 ms
    64 queries of 100,000       39 ms     31 ms                             202 ms
    64 queries of 1,000,000    266 ms    237 ms

NumKong's products for 64 queries use AMX, and gain a tenth. Those of a single 8-bit query take 1.8 to 2.6 times as long
as the 16-bit ones here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dare.files import compiled

BLOCK = 32
"""Values per row are a multiple of this."""
TOGETHER = 4
"""Rows that are summed side by side: adding up the parts of a single register takes longer than the products."""
LANES = 16
CACHE_LINE = 64
AHEAD = 4096
"""Bytes by which codes are prefetched ahead; by itself the processor prefetches too late (1.4 times as slow)."""


def _add_products(width: int) -> Any:
    """A compiled function: products of `width` values of a query with those of four rows, added to four sums."""

    def add_products(context: Any, codes: Any, rows: Any, query: Any, start: Any, sums: Any, first: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def load(argument: int, start: Any, count: int) -> Any:
                array = context.make_array(signature.args[argument])(context, builder, arguments[argument])
                place = builder.gep(array.data, [start])
                pointer = builder.bitcast(place, ir.VectorType(place.type.pointee, count).as_pointer())
                return pointer, builder.load(pointer, align=1)

            def halves(one: Any, other: Any, low: list[int], high: list[int]) -> Any:
                return builder.add(_pick(builder, one, other, low), _pick(builder, one, other, high))

            wide = ir.VectorType(ir.IntType(32), width)
            factor = builder.sext(load(2, arguments[3], width)[1], wide)
            parts = []
            for number in range(TOGETHER):
                row = load(0, builder.extract_value(arguments[1], number), width)[1]
                products = builder.mul(builder.sext(row, wide), factor)
                part = halves(products, products, list(range(0, width, 2)), list(range(1, width, 2)))
                for count in (n for n in (64, 32, 16) if n < width // 2):
                    part = halves(part, part, list(range(count)), list(range(count, 2 * count)))
                parts.append(part)
            # Eight lanes of two rows in one register, then four of four rows, then two, then one.
            low = [n for n in range(2 * LANES) if n % 16 < 8]
            pairs = [halves(parts[n], parts[n + 1], low, [n + 8 for n in low]) for n in (0, 2)]
            low = [n for n in range(2 * LANES) if n % 8 < 4]
            four = halves(pairs[0], pairs[1], low, [n + 4 for n in low])
            for distance in (2, 1):
                four = builder.add(four, _pick(builder, four, four, [n ^ distance for n in range(LANES)]))
            pointer, before = load(4, arguments[5], TOGETHER)
            builder.store(builder.add(before, _pick(builder, four, four, [0, 4, 8, 12])), pointer, align=4)
            return context.get_dummy_value()

        return types.void(codes, rows, query, start, sums, first), build

    return intrinsic(add_products)


def _pick(builder: Any, one: Any, other: Any, lanes: list[int]) -> Any:
    """Some lanes of two vectors, numbered one after the other."""
    number = ir.IntType(32)
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(number, len(lanes)), lanes))


def _ask(context: Any, codes: Any, start: Any) -> Any:
    """Prefetch a cache line; one beyond the end does no harm."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place, number = builder.gep(array.data, [arguments[1]]), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        name = "llvm.prefetch.p0"
        ask = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(ask, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(codes, start), build


_add_32, _add_64, _add_128 = (_add_products(width) for width in (BLOCK, 64, 128))
_ask_for: Any = intrinsic(_ask)


@compiled()
def dots(codes: Any, start: int, stop: int, queries: Any, query: int, sums: Any) -> None:
    """Products of a query with the rows from `start` to `stop`.

    Args:
        codes: (N, P) int8, in one piece; P is a multiple of `BLOCK`.
        queries: (Q, P) int16, in one piece, so short that no product overflows.
        sums: int32, written to; as many as rows, rounded up to a multiple of four.
    """
    size, last = codes.shape[1], stop - 1
    flat, flat_queries, values = codes.reshape(-1), queries.reshape(-1), query * size
    sums[:] = 0
    for row in range(start, stop, TOGETHER):
        for line in range(row * size, (row + TOGETHER) * size, CACHE_LINE):
            _ask_for(flat, line + AHEAD)
        first, second, third, fourth = row, min(row + 1, last), min(row + 2, last), min(row + 3, last)
        d = 0
        while d < size:
            rows = (first * size + d, second * size + d, third * size + d, fourth * size + d)
            if d + 128 <= size:
                _add_128(flat, rows, flat_queries, values + d, sums, row - start)
                d += 128
            elif d + 64 <= size:
                _add_64(flat, rows, flat_queries, values + d, sums, row - start)
                d += 64
            else:
                _add_32(flat, rows, flat_queries, values + d, sums, row - start)
                d += BLOCK
