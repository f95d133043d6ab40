"""Reports to look at: what a study or a run holds, as a page, as Markdown, as a table in the terminal."""
