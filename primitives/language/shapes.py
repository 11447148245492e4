"""The three shapes of the language of losses, ordered so that a smaller one broadcasts to a larger."""

from enum import IntEnum


class Shape(IntEnum):
    """Shape of a formula's value: ``Scalar []  <  Sample [N]  <  Class [N, C]``."""

    SCALAR = 0
    SAMPLE = 1
    CLASS = 2

    def __str__(self) -> str:
        return self.name.capitalize()
