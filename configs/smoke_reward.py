"""A reward for the smoke test: see docs/rewards.md for the contract."""


def letters(prompt: str, response: str, **columns: object) -> float:
    """Return the share of characters that are letters."""
    return sum(character.isalpha() for character in response) / max(1, len(response))
