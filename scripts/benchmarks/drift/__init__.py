"""How often each verdict on drift is a false alarm, and how many rows it needs to see a change that is one.

Run by `make bench-drift`; the figures are explained in docs/drift.md. They do not depend on the machine.
"""
