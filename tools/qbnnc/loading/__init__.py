"""Networks and artefacts in files: read, told apart, written."""
