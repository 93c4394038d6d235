"""How fast the answers are."""
