"""What schemathesis sends as files: texts and small tables.

Its own random bytes end, once in some thousand requests, in an error of its own: its validator cannot take
them.
"""

import schemathesis
from hypothesis import strategies as st

CELLS = st.sampled_from(["1", "2.5", "-3", "a", "b", ""])
TABLES = st.lists(st.lists(CELLS, min_size=2, max_size=2).map(",".join), max_size=40).map(
    lambda rows: "\n".join(["x,target", *rows])
)

schemathesis.openapi.format("binary", st.text() | TABLES)
