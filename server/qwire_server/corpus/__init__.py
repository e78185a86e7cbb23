"""Embeds a corpus with the model in this process, or in the actors of a Ray cluster."""
