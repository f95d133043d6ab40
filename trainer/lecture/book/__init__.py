"""The pages of the book: HTML, Markdown and slides from the same results, and the pictures of studies."""
