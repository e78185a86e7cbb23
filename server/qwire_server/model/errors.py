"""How a forward can fail, told apart by what helps. Imports nothing, so that the engine may."""


class OutOfMemory(Exception):
    """The batch did not fit; a smaller one may."""


class DeviceLost(Exception):
    """The device's context is broken and stays so until the process ends."""
