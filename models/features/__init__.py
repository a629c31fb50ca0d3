"""From raw columns to jagged sequences of numbers, with all that is fitted on the way."""
