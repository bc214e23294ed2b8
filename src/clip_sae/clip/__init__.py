"""The image tower: loading, running from a layer on, text embeddings, vocabularies."""
