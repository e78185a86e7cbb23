"""Fronts: turn wire types into texts and rows back into wire types. Policy lives in the engine."""
