"""How fast artefacts and float networks predict, measured in turns."""
