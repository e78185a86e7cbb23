"""Who waits, in which order, and who is turned away: the policy, pure and without a clock.

Nothing here locks, sleeps, reads the time or knows a model. Times are microseconds (int) that the
caller passes in; the engine, the event loop and the simulator all run this same code.
"""
