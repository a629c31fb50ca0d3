"""Raw columns to sequences of numbers of different lengths, with all that is fitted to do so."""
