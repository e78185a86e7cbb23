"""Where Qwire stands beside its peers and beside the hardware: `make bench-gpu`, `make bench-cpu`.

Reading order: `cells` (what is measured), `stage` (the processes that it is measured with),
`offer` (the load generator), `table` (what is shown of it).
"""
