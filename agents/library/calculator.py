"""Arithmetic on exact numbers: fractions, not floats, so that 0.1 + 0.2 is 0.3."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

from agents.errors import ToolError
from agents.tools import tool

MAX_CHARACTERS: Final = 500
MAX_BITS: Final = 4_000
"""No number on the way has more; a power is refused before it is computed."""
MAX_EXPONENT: Final = 300
"""Of a number such as 1e300, which is written out before it can be measured."""
DIGITS: Final = 12
"""Of a number that cannot be written out."""

_TWO: Final[Mapping[type, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}
_FUNCTIONS: Final[Mapping[str, Callable[[Fraction], Fraction]]] = {
    "abs": abs,
    "round": lambda a: Fraction(math.floor(abs(a) + Fraction(1, 2))) * (1 if a >= 0 else -1),  # halves away from 0
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
}
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"})


@tool
def calculate(expression: str) -> str:
    """Computes an arithmetic expression exactly: + - * / ** mod, brackets, %, sqrt, abs, round, floor, ceil."""
    return f"{expression.strip()} = {show(evaluate(expression))}"


def evaluate(expression: str) -> Fraction:
    """Raises ToolError `bad_expression` or `too_large` with a sentence for whoever wrote it."""
    if len(expression) > MAX_CHARACTERS:
        raise ToolError("too_large", f"An expression may have {MAX_CHARACTERS} characters.")
    text = _as_python(expression)
    try:
        return _value(ast.parse(text, mode="eval").body, text)
    except ZeroDivisionError as error:
        raise ToolError("bad_expression", "That divides by zero.") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolError("bad_expression", f"{expression!r} is no arithmetic expression.") from error


def show(value: Fraction, *, as_fraction: bool = True) -> str:
    """A number as people write it; one that has no end as its fraction, if that is short, and about how much it is."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    digits = _decimals(value.denominator)
    if digits is not None and digits <= DIGITS:
        scaled = abs(value.numerator) * 10**digits // value.denominator
        return f"{'-' if value < 0 else ''}{scaled // 10**digits:,}.{scaled % 10**digits:0{digits}d}"
    about = _rounded(value)
    short = as_fraction and value.denominator < 10**6 and abs(value.numerator) < 10**12
    return f"{value.numerator}/{value.denominator} ≈ {about}" if short else f"about {about}"


def _as_python(expression: str) -> str:
    text = expression.strip().rstrip("=?").translate(_SIGNS)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"%\s*of\b", "/100*", text)
    text = text.replace("%", "/100 ")
    return re.sub(r"\bmod\b", "%", text).strip()


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return _number(ast.get_source_segment(text, node) or "")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _value(operand, text)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, text), _value(right, text))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _TWO:
            return _bounded(_TWO[type(sign)](_value(left, text), _value(right, text)))
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument], keywords=[]):
            return _power(_value(argument, text), Fraction(1, 2))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(argument, text))
        case _:
            raise ValueError(ast.dump(node)[:100])


def _number(text: str) -> Fraction:
    _, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise ToolError("too_large", "That number is too large to compute here.")
    return _bounded(Fraction(text.replace("_", "")))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent == Fraction(1, 2) and base >= 0:
        root = Fraction(math.isqrt(base.numerator), math.isqrt(base.denominator))
        if root * root == base:
            return root
        scale = 10 ** (2 * DIGITS + 4)  # a root without an end: as many digits as are shown, and a few more
        return Fraction(math.isqrt(base.numerator * scale // base.denominator), math.isqrt(scale))
    if exponent.denominator != 1:
        raise ToolError(
            "bad_expression", "Powers are computed for whole exponents, and square roots of what is not below 0."
        )
    if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_BITS:
        raise ToolError("too_large", "That number is too large to compute here.")
    return Fraction(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ToolError("too_large", "That number is too large to compute here.")
    return value


def _decimals(denominator: int) -> int | None:
    """How many decimals a fraction with it has; None when they never end."""
    count = {2: 0, 5: 0}
    for prime in count:
        while denominator % prime == 0:
            denominator //= prime
            count[prime] += 1
    return max(count.values()) if denominator == 1 else None


def _rounded(value: Fraction) -> str:
    """With DIGITS significant digits; huge and tiny ones with a power of ten."""
    whole = abs(value)
    exponent = len(str(whole.numerator)) - len(str(whole.denominator))
    places = max(0, min(DIGITS - exponent, 3 * DIGITS))
    text = f"{round(value * 10**places)}".rjust(places + 1, "0") if value > 0 else ""
    if not text:
        return f"-{_rounded(-value)}"
    return f"{text[:-places]}.{text[-places:]}".rstrip("0").rstrip(".") if places else text
