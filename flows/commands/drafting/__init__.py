"""What a job drafted by `ostinato init` is made of: the facts of the data, and the file's text."""
