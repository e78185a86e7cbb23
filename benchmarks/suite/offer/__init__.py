"""The load generator, a process of its own: raw gRPC, messages made before the clock runs.

How much of a core it used is part of each result: near 1, it would be what was measured.
"""
