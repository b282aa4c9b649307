"""A seeded permutation of range(n) that needs no memory, for any n."""

from __future__ import annotations

import hashlib
from math import isqrt

__all__ = ["Permutation"]

_ROUNDS = 8  # 4 look random for large n (Luby and Rackoff 1988); more cost little and mix small ones


class Permutation:
    """A random-looking bijection of range(size): a generalised Feistel network with cycle walking.

    Numbers are pairs (left, right) in range(a) x range(b) with a b >= size and a, b as close to the root as can be;
    each round adds a hash of one half to the other (Black and Rogaway 2002, "Ciphers with arbitrary finite domains",
    method 3). A result at or above ``size`` is put in again until one below comes out: the network permutes
    range(a b), so walking along a cycle permutes what is below (their method 2). As a b < size + a, that is seldom.

    Args:
        size: At least 1.
        seed: Any int >= 0; which permutation.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._a = isqrt(size - 1) + 1
        self._b = -(-size // self._a)
        self._seed = b"%d:" % seed
        self._bytes = self._a.bit_length() // 8 + 9  # 64 bits more than needed: `%` favours nobody noticeably

    def __getitem__(self, index: int) -> int:
        """Where 0 <= index < size goes."""
        if not 0 <= index < self.size:
            msg = f"The index must lie in range({self.size}). Got {index}."
            raise IndexError(msg)
        while True:
            index = self._network(index)
            if index < self.size:
                return index

    def _network(self, index: int) -> int:
        right, left = divmod(index, self._a)
        for turn in range(_ROUNDS):
            modulus = self._b if turn % 2 else self._a
            left, right = right, (left + self._hash(turn, right)) % modulus
        return left + self._a * right  # after an even number of rounds the halves are in their places

    def _hash(self, turn: int, half: int) -> int:
        text = self._seed + b"%d:%d" % (turn, half)
        return int.from_bytes(hashlib.shake_256(text).digest(self._bytes), "big")
