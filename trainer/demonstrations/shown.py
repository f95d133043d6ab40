"""The demonstrations of the lecture's claims: each function computes what it shows and the facts read off it."""
