"""prod_data.csv as other programs read it."""

import csv
import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from boucle.store import projection


@pytest.mark.parametrize("label", ["a", "", 'b, "c"', "two\nlines", "é", True, 1, 1.0, -0.0, 0.0, 1e22, 0.1])
def test_a_line_is_the_one_that_a_csv_writer_would_write(label):
    vector, buffer = np.array([0.1, -0.0, 1e300, 3.0]), io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([*(repr(float(x)) for x in vector), str(label), str(label)])

    assert projection.row_line(vector, label, label) == buffer.getvalue().encode()


@given(
    st.floats()
    | st.floats(-1, 1)
    | st.builds(lambda digits, power: digits / 10.0**power, st.integers(), st.integers(0, 9))
)
@example(float("nan"))
@example(float("-inf"))
@example(1e16)
@example(1e-5)
@example(-0.00001234)
def test_a_line_spells_every_float_as_repr_does_since_the_table_knows_where_it_ends(value):
    assert projection.row_line(np.array([1.5, value]), 1, 0) == f"1.5,{value!r},1,0\n".encode()
