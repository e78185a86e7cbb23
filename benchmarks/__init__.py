"""The first figures: `make bench`. What each part measures, and what it does not, is said in it."""
