"""The rules of the ops that compute with the input, one file a family."""
