"""What a user sees of a run and of the parts: terminal, report, exported files."""
