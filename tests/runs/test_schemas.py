import pyarrow as pa
import pytest

from eva.errors import DataError
from eva.runs import schemas

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("ids", schemas._list(pa.int64()), nullable=False),
        pa.field("logs", schemas._list(pa.float64())),
        pa.field("deep", schemas.SCORE),
        pa.field("parts", schemas.NUMBERS),
    ]
)


def check(**columns):
    whole = {"name": pa.array(["a"]), "ids": pa.array([[1]])} | columns
    table = pa.table({name: column for name, column in whole.items() if column is not None})
    schemas.check_table(table, SCHEMA, file="f.parquet")


def test_columns_that_may_be_missing_may_be_missing_null_or_of_unknown_type():
    check()
    check(logs=pa.array([None]))
    check(logs=pa.array([[]]))
    check(extra=pa.array([object.__name__]))


@pytest.mark.parametrize(
    "columns",
    [
        {"name": pa.array(["a"], pa.large_string())},
        {"ids": pa.array([[1]], pa.large_list(pa.int16()))},
        {"ids": pa.array([[1, 2]], pa.list_(pa.uint8(), 2))},
        {"logs": pa.array([[0.5]], pa.list_(pa.float32()))},
        {"logs": pa.array([[5]])},
        {"parts": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float32()))},
    ],
)
def test_other_layouts_of_the_same_thing_do(columns):
    check(**columns)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"name": None}, "column name: missing, expected string; got ids"),
        ({"name": pa.array([1])}, "column name: got int64, expected string"),
        ({"name": pa.array([None], pa.string())}, "column name: got 1 nulls, expected string"),
        ({"ids": pa.array(["1 2"])}, r"column ids: got string, expected list"),
        ({"ids": pa.array([["1"]])}, r"column ids\[\]: got string, expected int64"),
        ({"ids": pa.array([[1, None]])}, r"column ids\[\]: got 1 nulls"),
        ({"ids": pa.array([[1.5]])}, r"column ids\[\]: got double, expected int64"),
        ({"deep": pa.array([{"cause": "x"}])}, "column deep.reward: missing, expected double"),
        ({"deep": pa.array([{"reward": "x"}])}, "column deep.reward: got string, expected double"),
        ({"parts": pa.array([{"a": 1.0}])}, "column parts: got struct.*expected map"),
    ],
)
def test_what_does_not_fit_is_named_with_its_file(columns, says):
    with pytest.raises(DataError, match=f"f.parquet: {says}"):
        check(**columns)
