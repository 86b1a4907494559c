"""Rules: each says, with Python's integers, which bytes the kernel of an instruction may touch."""
