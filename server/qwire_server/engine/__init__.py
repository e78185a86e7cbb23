"""Who runs when: admission, order, batches, the worker thread.

Knows token ids and plain metadata. Knows nothing about text, protocols, futures or torch.
"""
