"""The solver: objectives, pairs and learning-rate schedules."""
