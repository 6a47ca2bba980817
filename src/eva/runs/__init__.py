"""The run folder: the truth about a run, its resume, its report."""
