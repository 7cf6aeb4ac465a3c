"""The text at the start of a PLY file: parsed with bounds, and its promises compared with the size of the file.

This module does not know Gaussians.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from maquette.core.errors import BadInput, Unsupported

MAX_HEADER_BYTES = 128 * 1024
MAX_TEXT_MIB = 64
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "ascii"}


@dataclass(frozen=True)
class Element:
    """One table of the file: its name, number of rows, and properties with their numpy types; None is a list."""

    name: str
    count: int
    properties: dict[str, str | None]

    def row(self, byte_order: str) -> np.dtype:
        """The layout of one row in the file."""
        return np.dtype([(name, byte_order + kind) for name, kind in self.properties.items()])


@dataclass(frozen=True)
class Header:
    """What a PLY file says of itself. `body` is the offset of the first row."""

    byte_order: Literal["<", ">", "ascii"]
    elements: tuple[Element, ...]
    body: int

    def properties(self, element: str) -> set[str]:
        """Property names of an element; none if the file has no such element."""
        return {name for found in self.elements if found.name == element for name in found.properties}


def parse_header(data: bytes, path: str | Path) -> Header:
    """Read the header of a PLY file.

    Raises BadInput for what is no PLY file, for a header without end or longer than `MAX_HEADER_BYTES`, and for
    lines, types and counts that the format does not have.
    """
    again = "export the file again"
    start = data[:MAX_HEADER_BYTES]
    if start[:4] not in (b"ply\n", b"ply\r"):
        raise BadInput(f"{path} does not begin with 'ply'; expected a PLY file", "check which file this is")
    at = start.find(b"\nend_header")
    end = start.find(b"\n", at + 1) if at >= 0 else -1
    if end < 0 or start[at:end].strip() != b"end_header":
        raise BadInput(f"{path} has no end_header within its first {MAX_HEADER_BYTES} bytes", again)
    byte_order, elements = None, []
    for line in start[:at].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _FORMATS:
            byte_order = _FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3 and words[2].isdecimal() and len(words[2]) < 20:
            elements.append(Element(words[1], int(words[2]), {}))
        elif words[0] == "property" and elements and len(words) == 3 and words[1] in _TYPES:
            elements[-1].properties[_new(words[2], elements[-1], path)] = _TYPES[words[1]]
        elif words[0] == "property" and elements and len(words) == 5 and words[1] == "list":
            elements[-1].properties[_new(words[4], elements[-1], path)] = None
        else:
            raise BadInput(f"{path} has a header line that PLY does not know: {line[:60]!r}", again)
    if byte_order is None:
        raise BadInput(f"{path} has no valid 'format' line in its header", again)
    return Header(byte_order, tuple(elements), end + 1)


def read_element(data: bytes, header: Header, wanted: str, path: str | Path) -> np.ndarray:
    """The rows of one element as a structured array, read without copying where the file is binary.

    Before anything is allocated, the declared counts are compared with the bytes that are there. Raises BadInput when
    rows are missing, or when whole rows follow the last declared one; Unsupported for a list before the element.
    """
    skipped = 0
    for element in header.elements:
        if None in element.properties.values():
            raise Unsupported(
                f"{path} has the list element {element.name!r} before {wanted!r}", "export the Gaussians alone"
            )
        if element.name == wanted:
            break
        skipped += element.count * (
            len(element.properties) if header.byte_order == "ascii" else element.row("<").itemsize
        )
    if header.byte_order == "ascii":
        return _read_text(data, header, element, skipped, path)
    row, at = element.row(header.byte_order), header.body + skipped
    there = (len(data) - at) // max(row.itemsize, 1)
    if there < element.count or (element is header.elements[-1] and there > element.count):
        raise BadInput(
            f"{path} declares {element.count} rows of {wanted!r} and holds {max(there, 0)} ({row.itemsize} bytes each)",
            "make or download the file again; it is truncated or its header is wrong",
        )
    return np.frombuffer(data, row, element.count, at)


def _read_text(data: bytes, header: Header, element: Element, skipped: int, path: str | Path) -> np.ndarray:
    if len(data) > MAX_TEXT_MIB * 2**20:
        raise BadInput(f"{path} has more than {MAX_TEXT_MIB} MiB of ASCII numbers", "export it as binary PLY")
    columns = len(element.properties)
    numbers = np.fromstring(data[header.body :].decode("ascii"), sep=" ")  # ValueError for what is no number
    there = (len(numbers) - skipped) // max(columns, 1)
    if there < element.count or (element is header.elements[-1] and there > element.count):
        raise BadInput(
            f"{path} declares {element.count} rows of {element.name!r} and holds {max(there, 0)}",
            "make or download the file again; it is truncated or its header is wrong",
        )
    table = numbers[skipped : skipped + element.count * columns].reshape(element.count, columns)
    return np.rec.fromarrays(list(table.T), names=list(element.properties))


def _new(name: str, element: Element, path: str | Path) -> str:
    if name in element.properties:
        raise BadInput(f"{path} declares the property {name!r} twice", "export the file again")
    return name
