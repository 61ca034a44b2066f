"""Read a table that a person hands in: batches of its columns, texts of any column, and rows that are refused."""
