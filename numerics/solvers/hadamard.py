"""Hadamard matrices by the constructions of Paley and Sylvester, without tables.

A size ``n = K * 2^p`` is the Kronecker product of a Paley matrix of order K (R. Paley, "On
orthogonal matrices", 1933) and Sylvester's matrix of order ``2^p``. Paley I: ``K = q + 1`` for a
prime power ``q = 3 mod 4``. Paley II: ``K = 2 (q + 1)`` for a prime power ``q = 1 mod 4``.
"""

import itertools
from functools import cache

import numpy as np
from jaxtyping import Int

#: Largest order K of a Paley matrix that is tried.
LARGEST_ORDER = 1024


@cache
def factor_size(n: int) -> tuple[int, int]:
    """Return K and ``2^p`` with ``n = K * 2^p``, K the least order that can be constructed.

    Examples
    --------
    >>> factor_size(64), factor_size(576), factor_size(11008), factor_size(18944)
    ((1, 64), (36, 16), (344, 32), (148, 128))
    """
    if n < 1:
        raise ValueError(f"a Hadamard matrix has a positive order, not {n}")
    power = n & -n
    while power >= 1:
        order = n // power
        if order in (1, 2) or (order <= LARGEST_ORDER and paley_field(order) is not None):
            return (1, n) if order == 2 else (order, power)
        power //= 2
    raise ValueError(
        f"no Hadamard matrix of order {n} by Paley's and Sylvester's constructions; "
        f"rotate blocks of {largest_block(n)} instead"
    )


def has_hadamard(n: int) -> bool:
    """Return whether :func:`factor_size` has a matrix of order ``n``.

    Examples
    --------
    >>> [n for n in range(2, 21) if has_hadamard(n)]
    [2, 4, 8, 12, 16, 20]
    """
    try:
        factor_size(n)
    except ValueError:
        return False
    return True


def check_blocks(width: int, size: int) -> None:
    """Raise ValueError unless ``width`` consists of blocks of ``size`` with a Hadamard matrix.

    Examples
    --------
    >>> check_blocks(96, 64)
    Traceback (most recent call last):
    ValueError: 96 values can't be rotated in blocks of 64; the size of a block must divide 96
    """
    if size < 1 or width % size:
        raise ValueError(
            f"{width} values can't be rotated in blocks of {size}; "
            f"the size of a block must divide {width}"
        )
    factor_size(size)


def additions(size: int) -> int:
    """Return the additions of one fast transform of ``size`` values: butterflies and Paley sums.

    Examples
    --------
    >>> additions(64), additions(704)
    (384, 33088)
    """
    order, power = factor_size(size)
    return size * (power.bit_length() - 1) + size * (order - 1)


def largest_block(n: int) -> int:
    """Return the largest power of two that divides ``n``: the size for a block rotation."""
    return n & -n


@cache
def hadamard(n: int) -> Int[np.ndarray, "n n"]:
    """Return a matrix of entries 1 and -1 with ``H H^T = n I``.

    Examples
    --------
    >>> hadamard(4).tolist()
    [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    """
    order, power = factor_size(n)
    matrix = paley(order)
    for _ in range(power.bit_length() - 1):
        matrix = np.kron(np.array([[1, 1], [1, -1]], np.int8), matrix)
    matrix.setflags(write=False)
    return matrix


def paley(order: int) -> Int[np.ndarray, "n n"]:
    """Return the Paley matrix of an order (the 1x1 matrix for order 1)."""
    if order == 1:
        return np.ones((1, 1), np.int8)
    q = paley_field(order)
    if q is None:
        raise ValueError(f"Paley's constructions have no matrix of order {order}")
    residues = quadratic_character(q)
    if order == q + 1:
        skew = np.zeros((order, order), np.int8)
        skew[0, 1:], skew[1:, 0], skew[1:, 1:] = 1, -1, residues
        return skew + np.eye(order, dtype=np.int8)
    conference = np.zeros((q + 1, q + 1), np.int8)
    conference[0, 1:], conference[1:, 0], conference[1:, 1:] = 1, 1, residues
    on_diagonal = np.array([[1, -1], [-1, -1]], np.int8)
    elsewhere = np.array([[1, 1], [1, -1]], np.int8)
    diagonal = np.kron(np.eye(q + 1, dtype=np.int8), on_diagonal)
    return diagonal + np.kron(conference, elsewhere)


def paley_field(order: int) -> int | None:
    """Return the field size q of the Paley matrix of an order, ``None`` if there is no such q."""
    if order % 4:
        return None
    if (order - 1) % 4 == 3 and prime_power(order - 1) is not None:
        return order - 1
    q = order // 2 - 1
    return q if q % 4 == 1 and prime_power(q) is not None else None


def prime_power(q: int) -> tuple[int, int] | None:
    """Return p and k of ``q = p^k``, ``None`` if q is not a prime power."""
    if q < 2:
        return None
    p = next((d for d in range(2, int(q**0.5) + 1) if q % d == 0), q)
    k = 0
    while q % p == 0:
        q, k = q // p, k + 1
    return (p, k) if q == 1 else None


def quadratic_character(q: int) -> Int[np.ndarray, "q q"]:
    """Return ``chi(a - b)`` for all elements a and b of GF(q): 1 for squares, -1 otherwise, 0 at 0.

    An element of GF(p^k) is indexed by the number whose base-p digits are its coefficients.
    """
    found = prime_power(q)
    assert found is not None
    p, k = found
    digits = np.array(list(itertools.product(range(p), repeat=k)))[:, ::-1]
    weights = p ** np.arange(k)
    modulus = _irreducible(p, k)
    squares = {int(_times(d, d, modulus, p) @ weights) for d in digits[1:]}
    character = np.array([0] + [1 if a in squares else -1 for a in range(1, q)], np.int8)
    differences = ((digits[:, None] - digits[None]) % p) @ weights
    result: Int[np.ndarray, "q q"] = character[differences]
    return result


def _times(
    a: Int[np.ndarray, " k"], b: Int[np.ndarray, " k"], modulus: Int[np.ndarray, " k"], p: int
) -> Int[np.ndarray, " k"]:
    """Multiply in GF(p^k) modulo ``x^k - modulus``; coefficients from the lowest."""
    k = len(a)
    product = np.convolve(a, b)
    for degree in range(len(product) - 1, k - 1, -1):
        product[degree - k : degree] += product[degree] * modulus
        product[degree] = 0
    return product[:k] % p


def _irreducible(p: int, k: int) -> Int[np.ndarray, " k"]:
    """Return the first ``m`` for which ``x^k - m(x)`` is irreducible over GF(p).

    For k = 2 and 3, which suffice for the usual layer widths, a polynomial without a root is
    irreducible.
    """
    if k == 1:
        return np.zeros(1, int)
    if k > 3:
        raise ValueError(f"fields of {p}^{k} elements are not constructed, only up to cubes")
    points = np.arange(p)
    for low in itertools.product(range(p), repeat=k):
        values = sum(c * points**i for i, c in enumerate(low))
        if ((points**k - values) % p != 0).all():
            return np.array(low)
    raise AssertionError("every finite field has irreducible polynomials of every degree")
