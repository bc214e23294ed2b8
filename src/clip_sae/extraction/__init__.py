"""Images → activation stores: one forward pass fills several layers."""
