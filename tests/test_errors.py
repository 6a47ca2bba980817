import pytest

from eva import errors


@pytest.mark.parametrize(
    ("error", "stdlib"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.GenerationError, RuntimeError),
        (errors.RewardError, RuntimeError),
        (errors.SolverError, RuntimeError),
        (errors.RunError, RuntimeError),
    ],
)
def test_every_error_is_evas_and_a_standard_one(error, stdlib):
    assert issubclass(error, errors.EvaError)
    assert issubclass(error, stdlib)


def test_unknown_name_suggests_only_what_is_near():
    assert "did you mean 'dpo'?" in errors.unknown_name("objective", "dpoo", ["dpo", "ipo"])
    assert "did you mean" not in errors.unknown_name("objective", "zzz", ["dpo", "ipo"])
    assert "Known: dpo, ipo" in errors.unknown_name("objective", "zzz", ["ipo", "dpo"])
