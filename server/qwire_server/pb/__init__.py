"""Generated stubs of contracts that are not ours."""
