"""What is generated for helm/fusionrun: descriptions, the README and annotations of its package."""
