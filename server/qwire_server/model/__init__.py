"""What runs on the device: weights, packed attention, pooling. Knows token ids, no text."""

import os

# On a CPU every operation of a batch asks for megabytes; the first touch of each 4 KiB page of them
# is a fault, and huge pages have few. Read by torch at its first tensor; Linux only.
# https://github.com/pytorch/pytorch/pull/107697
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
