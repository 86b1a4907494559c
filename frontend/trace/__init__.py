"""The module as a torch.export program, with dropout active or not."""
