"""prod_data.csv as other programs read it."""

import csv
import io

import numpy as np
import pytest

from boucle.store import projection


@pytest.mark.parametrize("label", ["a", "", 'b, "c"', "two\nlines", "é", True, 1, 1.0, -0.0, 0.0, 1e22, 0.1])
def test_a_line_is_the_one_that_a_csv_writer_would_write(label):
    vector, buffer = np.array([0.1, -0.0, 1e300, 3.0]), io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([*(repr(float(x)) for x in vector), str(label), str(label)])

    assert projection.row_line(vector, label, label) == buffer.getvalue().encode()
