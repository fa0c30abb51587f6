"""Out of training: small files, other formats, fast networks."""
