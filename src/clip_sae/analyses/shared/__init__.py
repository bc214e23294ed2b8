"""What several analyses use: models, images of stores, records of arrays, top images."""
