"""Statistical tests, intervals and scores: numbers in, numbers out. Imports no torch."""
