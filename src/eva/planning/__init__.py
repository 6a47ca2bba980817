"""What a config will do and cost, told before anything is loaded."""
