"""What a sample of scored answers says before anything is trained."""
