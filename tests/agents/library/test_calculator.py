from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import ToolError
from agents.library.calculator import calculate, evaluate, show


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("0.1 + 0.2", "0.3"),
        ("17 × 23", "391"),
        ("15% of 80", "12"),
        ("1,234.5 * 2", "2,469"),
        ("2^10", "1,024"),
        ("-7/2", "-3.5"),
        ("10 mod 3", "1"),
        ("7 // 2", "3"),
        ("2 ** -3", "0.125"),
        ("1/3", "1/3 ≈ 0.333333333333"),
        ("-1/3", "-1/3 ≈ -0.333333333333"),
        ("sqrt(144)", "12"),
        ("sqrt(2)", "about 1.414213562373"),
        ("round(2.5) + abs(-1) + floor(1.9) + ceil(1.1)", "7"),
        ("(1 + 2) * 3 =", "9"),
    ],
)
def test_expressions(expression, shown):
    assert calculate(expression) == f"{expression} = {shown}"


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("1/0", "bad_expression"),
        ("(1", "bad_expression"),
        ("", "bad_expression"),
        ("x + 1", "bad_expression"),
        ("__import__('os')", "bad_expression"),
        ("'a' * 9", "bad_expression"),
        ("True + 1", "bad_expression"),
        ("2 if 1 else 3", "bad_expression"),
        ("(-4) ** 0.5", "bad_expression"),
        ("9 ** 9 ** 9", "too_large"),
        ("2 ** 99999999", "too_large"),
        ("1e999999999", "too_large"),
        ("1e-999999999", "too_large"),
        ("1" * 501, "too_large"),
        ("(" * 400, "bad_expression"),
    ],
)
def test_what_is_refused(expression, code):
    with pytest.raises(ToolError) as refused:
        calculate(expression)

    assert refused.value.code == code


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_the_four_operations_are_exact(a, b):
    assert evaluate(f"({a}) + ({b})") == a + b
    assert evaluate(f"({a}) - ({b})") == a - b
    assert evaluate(f"({a}) * ({b})") == a * b
    if b:
        assert evaluate(f"({a}) / ({b})") == a / b


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_a_decimal_is_shown_as_it_is(number):
    assert Fraction(show(Fraction(number)).replace(",", "")) == Fraction(number)
