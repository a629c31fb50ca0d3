"""The store: content-addressed artifacts, published atomically, and leases."""
