"""What is watched after a promotion: drift of the data and quality of the champion."""
