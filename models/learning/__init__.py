"""How a network learns: batches, the loop, and the checkpoint that makes it resume exactly."""
