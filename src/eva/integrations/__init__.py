"""eva as a guest in trainers that others wrote; each module needs the trainer's own package."""
