"""The experiments of Ferianc et al. (2021), scaled to a small machine."""
