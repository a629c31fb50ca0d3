"""How each stage of a flow is done, and the records that the stages hand on."""
