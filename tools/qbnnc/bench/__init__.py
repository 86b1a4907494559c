"""The speed of artefacts and float networks, measured in turns."""
