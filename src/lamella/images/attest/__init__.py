"""Documents about an image: what is in it (SBOM), how it was made (provenance), and who says so (signature)."""
