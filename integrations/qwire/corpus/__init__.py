"""A corpus: texts of a file in, a folder of part files out. Knows neither servers nor models."""
