"""Replicas of this server in a Ray Serve cluster: the same engine, Ray's way in and out."""
