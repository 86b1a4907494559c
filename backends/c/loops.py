"""Statements that repeat, as loops of C: the steps of a recurrent layer, which is unrolled.

Code and records then do not grow with the number of steps. The statements of two steps differ in
whole numbers alone: addresses, and numbers of random streams. In a loop each of these is
`first + t * stride`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from qbnnc.backends.c.program import Program

_RECORD = re.compile(r"\bqb_part_(\d+)\b")
_NUMBER = re.compile(r"(?<![\w.])\d+(?=u?(?![\w.]))")
_LONGEST = 256  # statements of a loop's body
_FEWEST = 3  # rounds of a loop
_LEAST = 4  # statements that a loop saves


def share_records(programs: Sequence[Program]) -> None:
    """Let steps name one record where those of all members are equal; others are dropped."""
    known = dict[tuple[tuple[str, str], ...], int]()
    kept, new = list[int](), dict[str, str]()
    for number, same in enumerate(zip(*(program.records for program in programs), strict=True)):
        if same not in known:
            known[same] = len(kept)
            kept.append(number)
        new[f"qb_part_{number}"] = f"qb_part_{known[same]}"
    for program in programs:
        program.records = [program.records[number] for number in kept]
        program.steps = [
            replace(step, text=_RECORD.sub(lambda match: new[match[0]], step.text))
            for step in program.steps
        ]


def rolled(statements: Sequence[str]) -> list[str]:
    """The statements in order, with loops in place of those that repeat."""
    split = [_split(statement) for statement in statements]
    forms, numbers = [form for form, _ in split], [each for _, each in split]
    lines, start = list[str](), 0
    while start < len(statements):
        length, rounds = _longest(forms, numbers, start)
        if rounds == 1:
            lines.append(statements[start])
            start += 1
            continue
        lines.append(f"for (int32_t t = 0; t < {rounds}; t++) {{")
        for place in range(start, start + length):
            lines.append(f"  {_body(forms[place], numbers[place], numbers[place + length])}")
        lines.append("}")
        start += length * rounds
    return lines


_Form = tuple[str, ...]
_Numbers = tuple[int, ...]


def _split(statement: str) -> tuple[_Form, _Numbers]:
    """A statement as the texts between its whole numbers, and these.

    Numbers of a statement with local variables stay in the text.
    """
    if statement.startswith("{"):
        return (statement,), ()
    numbers = tuple(int(match) for match in _NUMBER.findall(statement))
    return tuple(_NUMBER.split(statement)), numbers


def _longest(forms: list[_Form], numbers: list[_Numbers], start: int) -> tuple[int, int]:
    """The statements and rounds of the loop that saves most from `start` on; (1, 1) for none."""
    best = (_LEAST - 1, 1, 1)
    for length in range(1, min(_LONGEST, (len(forms) - start) // _FEWEST) + 1):
        if forms[start] != forms[start + length]:
            continue
        rounds = _rounds(forms, numbers, start, length)
        if rounds >= _FEWEST:
            best = max(best, (length * (rounds - 1), -length, rounds))
    _, length, rounds = best
    return (1, 1) if rounds == 1 else (-length, rounds)


def _rounds(forms: list[_Form], numbers: list[_Numbers], start: int, length: int) -> int:
    """Count how often the statements from `start` on repeat, with numbers in even steps."""
    first = slice(start, start + length)
    strides = [
        [b - a for a, b in zip(now, then, strict=False)]
        for now, then in zip(numbers[first], numbers[start + length :], strict=False)
    ]
    rounds = 1
    while True:
        here = start + rounds * length
        if forms[here : here + length] != forms[first]:
            return rounds
        for place, each in enumerate(strides):
            now, then = numbers[here - length + place], numbers[here + place]
            if any(b - a != stride for a, b, stride in zip(now, then, each, strict=True)):
                return rounds
        rounds += 1


def _body(form: _Form, first: _Numbers, second: _Numbers) -> str:
    """A statement of a loop, from its numbers in the first round and in the second."""
    texts = [form[0]]
    for text, a, b in zip(form[1:], first, second, strict=True):
        stride, unsigned = b - a, text.startswith("u")
        sign = "-" if stride < 0 else "+"
        if not stride:
            texts.append(f"{a}{text}")
        elif unsigned:
            texts.append(f"({a}u {sign} (uint32_t)t * {abs(stride)}u){text[1:]}")
        else:
            texts.append(f"({a} {sign} t * {abs(stride)}){text}")
    return "".join(texts)
