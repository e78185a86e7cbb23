"""What lies in a model folder: where it is, what it says, which one it is. No torch."""
