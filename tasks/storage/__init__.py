"""The only door to files: content-addressed artifacts, published atomically, under leases."""
