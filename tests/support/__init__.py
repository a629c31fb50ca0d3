"""What tests share: small data, small models, real servers."""
