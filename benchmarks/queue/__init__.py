"""A simulator of the queue: the server's own policy, on a virtual clock, beside two others.

A day of traffic takes seconds. Nothing of the policy is written anew here: `ours` composes
`qwire_server.engine.queue` as the server does, and clients wait as `qwire.retry` tells them.
"""
