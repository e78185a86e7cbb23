"""The Qwire server: one embedding model resident on a device, served over gRPC.

Layers import one way: `serve` -> `api` -> `text`, `engine` -> `model` -> `checkpoint`.
"""
