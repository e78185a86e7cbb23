"""The gRPC front: `qwire.v1`, health, reflection."""
