"""The frontier: every SAE architecture at equal L0, over seeds."""
