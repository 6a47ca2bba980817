"""Evaluation: held-out reward, IFEval, relevance, and the statistics of a difference."""
