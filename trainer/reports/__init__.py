"""Reports of studies and runs: HTML pages, Markdown, W&B reports. Imports no torch."""
