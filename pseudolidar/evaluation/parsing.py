"""Kernels that read label and result files of many frames, joined in one array of bytes, in one pass.

Beside `pseudolidar.kitti.read_objects`, which reads one file word by word, this is a second parser of the same format:
an evaluation of thousands of frames would spend most of its time in the first. It reads the plain text that every tool
writes; a file with anything else in it is left to `read_objects`, which takes it after all or says what is wrong.
"""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel
from pseudolidar.kitti import CLASSES, Objects

_SPACE, _TAB, _NEW_LINE, _RETURN = 32, 9, 10, 13
_LARGEST_OCCLUSION = 1e6

# Every power of ten that is a double without rounding.
_POWERS = 10.0 ** np.arange(23)
_EXACT = 1 << 53
"""Whole numbers up to here are doubles without rounding."""
_MOST_DIGITS = 19

_CLASS_BYTES = np.zeros((len(CLASSES), 32), np.uint8)
for _code, _name in enumerate(CLASSES):
    _CLASS_BYTES[_code, : len(_name)] = np.frombuffer(_name.lower().encode(), np.uint8)


def parse_files(
    text: NDArray[np.uint8], file_start: NDArray[np.int64], scored: bool
) -> tuple[Objects, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Read files that lie one after the other.

    Args:
        text: their bytes; file f is text[file_start[f] : file_start[f + 1]].
        scored: result files (16 fields a line) instead of label files (15).

    Returns:
        N objects; int64 (F + 1,), where each file's rows begin; int64 (N,), each object's line in its file, from 1;
            bool (F,), files that hold anything but plain lines with valid numbers: their rows mean nothing.
    """
    start = _row_starts(text, file_start)
    rows = int(start[-1])
    line, code, occlusion = np.zeros((3, rows), np.int64)
    word = np.zeros((rows, 2), np.int64)
    truncation, alpha, score = np.zeros((3, rows))
    box2d, box3d = np.zeros((rows, 4)), np.zeros((rows, 7))
    doubtful = np.zeros(len(file_start) - 1, np.bool_)
    _parse_lines(
        text, file_start, start, 16 if scored else 15, doubtful,
        line, code, word, truncation, occlusion, alpha, box2d, box3d, score,
    )  # fmt: skip
    names = np.array((*CLASSES, ""))[code]
    own = np.flatnonzero(code == len(CLASSES))
    if len(own):
        words = [text[first:end].tobytes().decode("ascii", "replace") for first, end in word[own]]
        names = names.astype(f"U{max(len(name) for name in [*words, *CLASSES])}")
        names[own] = words
    objects = Objects(names, truncation, occlusion, alpha, box2d, box3d, score if scored else None)
    return objects, start, line, doubtful


@cpu_kernel
def _row_starts(text: np.ndarray, file_start: np.ndarray) -> np.ndarray:
    """Where each file's rows begin: int64 (F + 1,), a row for each line that holds more than spaces."""
    start = np.zeros(len(file_start), np.int64)
    for file in range(len(file_start) - 1):
        filled = False
        lines = 0
        for position in range(file_start[file], file_start[file + 1]):
            if text[position] == _NEW_LINE:
                lines += filled
                filled = False
            elif text[position] > _SPACE:
                filled = True
        start[file + 1] = start[file] + lines + filled
    return start


@cpu_kernel
def _number(text: np.ndarray, first: int, end: int) -> float:
    """A decimal number, correctly rounded, or NaN where these two methods cannot read it.

    A whole number below 2^53, times or over a power of ten up to 10^22, is rounded once (Clinger 1990). Up to 19 digits
    over such a power are divided in twice the precision (Dekker 1971), whose error is too small to change the rounding.
    """
    position = first
    negative = text[position] == 45
    if negative or text[position] == 43:
        position += 1
    mantissa, digits, exponent = np.uint64(0), 0, 0
    seen, after_point = False, False
    while position < end:
        byte = text[position]
        if 48 <= byte <= 57:
            seen = True
            if digits > 0 or byte != 48:
                digits += 1
            if digits > _MOST_DIGITS:
                return np.nan
            mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
            exponent -= after_point
        elif byte == 46 and not after_point:
            after_point = True
        else:
            break
        position += 1
    if not seen:
        return np.nan
    if position < end:
        if text[position] != 101 and text[position] != 69:
            return np.nan
        position += 1
        down = position < end and text[position] == 45
        if position < end and (down or text[position] == 43):
            position += 1
        if position == end or end - position > 4:
            return np.nan
        power = 0
        while position < end:
            if not 48 <= text[position] <= 57:
                return np.nan
            power = power * 10 + int(text[position]) - 48
            position += 1
        exponent += -power if down else power
    value = float(mantissa)
    if mantissa == np.uint64(0):
        value = 0.0
    elif -22 <= exponent <= 0 and mantissa <= np.uint64(_EXACT):
        value = value / _POWERS[-exponent]
    elif 0 < exponent <= 22 and mantissa <= np.uint64(_EXACT):
        value = value * _POWERS[exponent]
    elif -22 <= exponent <= 0:
        value = _long_quotient(mantissa, _POWERS[-exponent])
    else:
        return np.nan
    return -value if negative else value


@cpu_kernel
def _long_quotient(mantissa: np.uint64, divisor: float) -> float:
    high = float(mantissa >> np.uint64(11)) * 2048.0
    low = float(mantissa & np.uint64(2047))
    quotient = high / divisor
    # The product of quotient and divisor in two doubles (Dekker 1971).
    split = 134217729.0
    a = quotient * split
    a_high = a - (a - quotient)
    a_low = quotient - a_high
    b = divisor * split
    b_high = b - (b - divisor)
    b_low = divisor - b_high
    product = quotient * divisor
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    rest = ((high - product) - error) + low
    return quotient + rest / divisor


@cpu_kernel
def _class_code(text: np.ndarray, first: int, end: int) -> int:
    """Index into CLASSES, in any case; the number of CLASSES for another name."""
    length = end - first
    for code in range(len(_CLASS_BYTES)):
        if length >= _CLASS_BYTES.shape[1] or _CLASS_BYTES[code, length] != 0:
            continue
        same = True
        for i in range(length):
            byte = text[first + i]
            if 65 <= byte <= 90:
                byte += 32
            if byte != _CLASS_BYTES[code, i]:
                same = False
                break
        if same:
            return code
    return len(_CLASS_BYTES)


@cpu_kernel
def _parse_lines(
    text: np.ndarray,
    file_start: np.ndarray,
    start: np.ndarray,
    fields: int,
    doubtful: np.ndarray,
    line: np.ndarray,
    code: np.ndarray,
    word: np.ndarray,
    truncation: np.ndarray,
    occlusion: np.ndarray,
    alpha: np.ndarray,
    box2d: np.ndarray,
    box3d: np.ndarray,
    score: np.ndarray,
) -> None:
    values = np.zeros(16)
    for file in range(len(doubtful)):
        position, end = file_start[file], file_start[file + 1]
        row = start[file]
        number = 0
        while position < end and not doubtful[file]:
            number += 1
            field = 0
            while position < end and text[position] != _NEW_LINE:
                byte = text[position]
                if byte in (_SPACE, _TAB):
                    position += 1
                    continue
                if byte == _RETURN and position + 1 < end and text[position + 1] == _NEW_LINE:
                    position += 1
                    continue
                first = position
                while position < end and 33 <= text[position] <= 126:
                    position += 1
                if position == first or field == fields:
                    doubtful[file] = True
                    break
                if field == 0:
                    letter = text[first] | 32
                    doubtful[file] |= not 97 <= letter <= 122
                    line[row] = number
                    code[row] = _class_code(text, first, position)
                    word[row, 0], word[row, 1] = first, position
                else:
                    values[field] = _number(text, first, position)
                    doubtful[file] |= np.isnan(values[field])
                field += 1
            position += 1
            if field == 0 or doubtful[file]:
                continue
            if field != fields or not _is_sound(values, fields):
                doubtful[file] = True
                continue
            truncation[row], occlusion[row], alpha[row] = values[1], int(values[2]), values[3]
            for i in range(4):
                box2d[row, i] = values[4 + i]
            # The file has h w l x y z ry.
            for i in range(3):
                box3d[row, i] = values[11 + i]
                box3d[row, 3 + i] = values[8 + i]
            box3d[row, 6] = values[14]
            score[row] = values[15]
            row += 1


@cpu_kernel
def _is_sound(values: np.ndarray, fields: int) -> bool:
    """Whether numbers are as `read_objects` wants them: whole occlusion, box the right way round, positive sizes."""
    if values[2] != np.floor(values[2]) or abs(values[2]) > _LARGEST_OCCLUSION:
        return False
    if values[6] < values[4] or values[7] < values[5]:
        return False
    height, width, length = values[8], values[9], values[10]
    if min(height, width, length) > 0.0:
        return True
    same = height == width and width == length
    return same and (height < 0.0 or fields == 15)
