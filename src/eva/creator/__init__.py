"""The creator: informativeness, sampling, operators, evolvers and gates; numpy only."""
