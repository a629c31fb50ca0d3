"""Sources that are files: listing, formats, compression, linked files."""
