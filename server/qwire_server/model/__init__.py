"""What runs on the device: weights, packed attention, pooling. Knows token ids, no text."""
