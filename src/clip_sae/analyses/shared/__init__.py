"""Code that several analyses share: the intervention, units, images of stores, records."""
