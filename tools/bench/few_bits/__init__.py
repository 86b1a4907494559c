"""The fidelity of compiled networks at few bits: `python -m tools.bench.few_bits`."""
