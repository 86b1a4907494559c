"""The jitted interpreter of flat programs and its kernels."""
