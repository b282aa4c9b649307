"""A seeded permutation of range(n) in constant memory, for any n."""

from __future__ import annotations

import hashlib
from math import isqrt

__all__ = ["Permutation"]

_ROUNDS = 8  # 4 suffice for large n (Luby and Rackoff 1988); more cost little and mix small ranges


class Permutation:
    """A random-looking bijection of range(size): a generalised Feistel network with cycle walking.

    A number is a pair (left, right) in range(a) x range(b), where a b >= size and a and b are as close to its root as
    possible. Each round adds a hash of one half to the other (Black and Rogaway 2002, "Ciphers with arbitrary finite
    domains", method 3). A result at or above ``size`` is permuted again until one below it comes out: the network
    permutes range(a b), so walking along its cycles permutes range(size) (their method 2). As a b < size + a, that is
    rare.

    Args:
        size: Number of elements, at least 1.
        seed: Selects the permutation, any int >= 0.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._a = isqrt(size - 1) + 1
        self._b = -(-size // self._a)
        self._seed = b"%d:" % seed
        self._bytes = self._a.bit_length() // 8 + 9  # 64 bits more than needed, so that the bias of `%` is negligible

    def __getitem__(self, index: int) -> int:
        """The image of 0 <= index < size."""
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
        return left + self._a * right  # after an even number of rounds the halves are back in place

    def _hash(self, turn: int, half: int) -> int:
        text = self._seed + b"%d:%d" % (turn, half)
        return int.from_bytes(hashlib.shake_256(text).digest(self._bytes), "big")
