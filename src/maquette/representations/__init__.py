"""What an asset can be: Gaussians, meshes, and the arrows between them."""
