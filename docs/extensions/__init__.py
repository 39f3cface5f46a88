"""Extensions of Sphinx that are the book's own, each a file."""
