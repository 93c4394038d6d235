"""How many requests compute, wait, and may come from one account."""
