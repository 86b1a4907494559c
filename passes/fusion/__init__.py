"""Passes that rewrite the float level: layers take up what stands beside them."""
