"""How expectations are evaluated: one streaming pass of Polars, with pandas where Polars cannot."""
