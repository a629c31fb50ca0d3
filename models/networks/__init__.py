"""From sequences to outputs: inputs, cells, poolings, heads, and the network that combines them."""
