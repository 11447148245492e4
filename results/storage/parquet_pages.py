"""The headers of Parquet pages: how large a page says that it is, before it is unpacked.

A reader unpacks what a page's own header says, not what the footer of the file says. A file of a stranger may say two
things. The headers are structs of Thrift's compact protocol.
"""

from collections.abc import Iterator

#: Most pages of a column in one group of rows.
MAX_PAGES = 10_000

#: Deepest nesting of structs in a header; Parquet's own has two.
_DEEPEST = 8

# Types of the compact protocol.
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, 12

# Fields of a page header.
_UNPACKED_SIZE, _PACKED_SIZE = 2, 3


class _Reader:
    """Reads a struct of the compact protocol, and keeps its whole numbers alone."""

    def __init__(self, content: memoryview, place: int) -> None:
        self.content, self.place = content, place

    def read_struct(self, depth: int = 0) -> dict[int, int]:
        numbers: dict[int, int] = {}
        field = 0
        while head := self._read_byte():
            field = field + (head >> 4) if head >> 4 else self._read_signed()
            kind = head & 15
            if kind in _INTEGERS:
                numbers[field] = self._read_signed()
            elif kind not in _BOOLEANS:
                self._skip(kind, depth)
        return numbers

    def _skip(self, kind: int, depth: int) -> None:
        if kind == _STRUCT and depth < _DEEPEST:
            self.read_struct(depth + 1)
        elif kind == _BINARY:
            length = self._read_unsigned()
            self.place += length
        elif kind in (_BYTE, _DOUBLE):
            self.place += 1 if kind == _BYTE else 8
        else:  # Parquet's headers have no lists and no maps
            raise ValueError("a page without a valid header")

    def _read_byte(self) -> int:
        if self.place >= len(self.content):
            raise ValueError("a page without a whole header")
        self.place += 1
        return self.content[self.place - 1]

    def _read_unsigned(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._read_byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise ValueError("a page without a valid header")

    def _read_signed(self) -> int:
        value = self._read_unsigned()
        return (value >> 1) ^ -(value & 1)


def unpacked_sizes(content: memoryview) -> Iterator[int]:
    """Yield what the pages of a column say that they unpack to, header by header, in bytes.

    ``content`` are the bytes of the column in one group of rows. Raises ValueError for what is no header.
    """
    place = pages = 0
    while place < len(content):
        reader = _Reader(content, place)
        header = reader.read_struct()
        unpacked, packed = header.get(_UNPACKED_SIZE, -1), header.get(_PACKED_SIZE, -1)
        pages += 1
        if unpacked < 0 or packed < 0 or pages > MAX_PAGES:
            raise ValueError(
                "a page without a valid header" if pages <= MAX_PAGES else f"more than {MAX_PAGES:,} pages"
            )
        yield unpacked + reader.place - place
        place = reader.place + packed
