"""An exported program, read: its nodes, random ops, predictions, and names."""
