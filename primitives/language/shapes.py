"""The three shapes of the language of losses. They are ordered: a smaller one broadcasts to a larger."""

from enum import IntEnum


class Shape(IntEnum):
    """Shape of a formula's value: ``Scalar []  <  Sample [batch]  <  Class [batch, classes]``."""

    SCALAR = 0
    SAMPLE = 1
    CLASS = 2

    def __str__(self) -> str:
        return self.name.capitalize()
