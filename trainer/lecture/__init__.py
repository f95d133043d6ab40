"""The lecture as one book: each claim of the notes as a study or a demonstration, its verdict, and the pages."""
