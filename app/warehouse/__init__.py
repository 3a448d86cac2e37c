"""The only SQL: the tables, what is written into them and what is read from them."""
