"""Gates: each refuses children for one reason, in words that are kept."""
