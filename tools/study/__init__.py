"""Studies of quantisation: sensitivities, sweeps over bits, and the reports of both."""
